"""Generation: tokens one after another, each drawn from what the model says of the text so far."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


def generate(
    model: Any,
    prompt: Int[Tensor, "B T"],
    *,
    tokens: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Int[Tensor, " B"]]:
    """Read the prompt, then yield one token of each text after another, for ever unless ``tokens`` says when to stop.

    Args:
        model: Anything with ``start``, ``prefill`` and ``step``, in evaluation mode.
        prompt: ``T >= 1`` tokens of each text.
        tokens: How many to yield; without end if left out.
        temperature: Logits are divided by it; 0 takes the likeliest token.
        top_k: Draw from the so many likeliest tokens only.
        top_p: Draw from the fewest likeliest tokens only whose probabilities add up to at least this share.
        generator: What randomness comes from, on the model's device; torch's own if left out.

    Raises:
        TypeError: If the prompt is no tensor.
        ValueError: If the prompt is empty or an option makes no sense.
    """
    if not isinstance(prompt, Tensor):
        raise TypeError(
            f"A prompt must be a tensor, got {type(prompt).__name__}; make one with torch.tensor."
        )
    if prompt.dim() != 2 or not prompt.shape[1]:
        raise ValueError(
            f"A prompt must have shape (B, T >= 1), got {tuple(prompt.shape)}; begin with some token."
        )
    if not temperature >= 0 or (top_k is not None and top_k < 1) or not (top_p is None or 0 < top_p <= 1):
        raise ValueError(
            f"Drawing needs temperature >= 0, top_k >= 1 and 0 < top_p <= 1, "
            f"got temperature={temperature}, top_k={top_k}, top_p={top_p}."
        )
    if tokens is not None and tokens < 0:
        raise ValueError(f"tokens must be at least 0, got {tokens}; leave it out to go on for ever.")
    return _go_on(model, prompt, tokens, lambda logits: _draw(logits, temperature, top_k, top_p, generator))


def _go_on(
    model: Any, prompt: Tensor, tokens: int | None, draw: Callable[[Tensor], Tensor]
) -> Iterator[Tensor]:
    with torch.no_grad():
        logits, stream = model.prefill(model.start(prompt.shape[0]), prompt)
    for left in itertools.count() if tokens is None else range(tokens - 1, -1, -1):
        token = draw(logits.float())
        yield token
        if left or tokens is None:
            with torch.no_grad():
                logits, stream = model.step(stream, token)


def _draw(
    logits: Float[Tensor, "B vocabulary"],
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: torch.Generator | None,
) -> Int[Tensor, " B"]:
    if temperature == 0:
        return logits.argmax(-1)
    # Less the largest, so that the others may only underflow.
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(descending=True)
        shares = ordered.softmax(-1)
        # A token goes if those before it are enough; the first always stays.
        enough = shares.cumsum(-1) - shares >= top_p
        logits = logits.masked_fill(enough.gather(-1, order.argsort(-1)), -torch.inf)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
