"""What states mean, said by the model's own parts."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils._pytree import tree_leaves

from scannable.modules import Codebook, TransformerInference
from scannable.scans import State

TOP = 5
"""How many of the likeliest tokens are told."""


def elements(model: Any, states: State, after: Int[Tensor, " R"]) -> list[int]:
    """Read each state as the state of all that was before, and then the group's identity, token 0.

    What the model answers there is the element that it takes the state for, since the identity changes no product.

    Args:
        model: A ``PrefixScannable`` model of word problems.
        states: ``R`` states.
        after: The place in the text of the token after each.
    """
    place = {"position": after} if model.inference.absolute else {}
    logits = model.head(model.inference(states, torch.zeros_like(after)[:, None], **place))
    return logits[:, -1].argmax(-1).tolist()


def lens(model: Any, states: State) -> Float[Tensor, "R V"] | None:
    """Apply the head to the last slot of each state, normed as the inference module norms what the head reads.

    The model itself never does so: it is a look at a state, not one of its predictions. None for states or modules
    of another form.
    """
    if not isinstance(model.inference, TransformerInference) or not isinstance(states, Tensor):
        return None
    return model.head(model.inference.stack.norm(states[:, -1]))


def codes(aggregator: Any, states: State) -> list[int] | list[None]:
    """Return which code the last slot of each merged state is, where the aggregator has a codebook."""
    if not isinstance(aggregator, Codebook):
        return [None] * len(tree_leaves(states)[0])
    last = states.flatten(1, -2)[:, -1] if states.dim() > 2 else states
    return aggregator.nearest(last).tolist()


def likeliest(logits: Float[Tensor, "R V"]) -> list[list[dict[str, Any]]]:
    """Return the likeliest tokens of each row, with their probabilities."""
    found = logits.float().softmax(-1).topk(min(TOP, logits.shape[-1]))
    rows = zip(found.indices.tolist(), found.values.tolist(), strict=True)
    return [
        [{"id": token, "p": digits(p)} for token, p in zip(tokens, shares, strict=True)]
        for tokens, shares in rows
    ]


def digits(value: int | float) -> float | None:
    """Round to four digits; what is not finite is told as nothing, since JSON has no word for it."""
    return float(f"{value:.4g}") if abs(value) < float("inf") else None
