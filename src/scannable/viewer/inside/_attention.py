"""How much attention a merge pays to its left and to its right operand, computed again beside the model's own call."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scannable.modules import Codebook, TransformerAggregator
from scannable.modules._rotary import rotate
from scannable.modules._transformer import Attention


@contextmanager
def attention(aggregator: Any) -> Iterator[list[Float[Tensor, "R 2"]]]:
    """Collect what ``left_and_right`` says of each layer, in order, while the aggregator merges.

    Nothing is collected unless it is a ``TransformerAggregator``, in a codebook or not, without a window.
    """
    shares: list[Tensor] = []
    inner = aggregator.aggregator if isinstance(aggregator, Codebook) else aggregator
    layers: list[Any] = []
    if isinstance(inner, TransformerAggregator) and inner.stack.window is None:
        layers = [block.attention for block in inner.stack.blocks]

    def note(layer: Any, inputs: Any, options: Any, _: Any) -> None:
        shares.append(left_and_right(layer, *inputs, causal=options["causal"], rotation=options["rotation"]))

    hooks = [layer.register_forward_hook(note, with_kwargs=True) for layer in layers]
    try:
        yield shares
    finally:
        for hook in hooks:
            hook.remove()


def left_and_right(
    layer: Attention, x: Float[Tensor, "R n D"], *, causal: bool, rotation: Tensor | None
) -> Float[Tensor, "R 2"]:
    """Return the share of softmax weight on the left half of the slots, and that on the right half.

    They are averaged over heads and over the queries of the right half, whose slots become the merged state, and
    add to one.
    """
    count = x.shape[1]
    half = count // 2
    q, k, _ = (y.unflatten(-1, (layer.heads, -1)) for y in layer.qkv(x).chunk(3, -1))
    q, k = rotate(q, rotation)[:, half:].float(), rotate(k, rotation).float()
    scores = torch.einsum("rqhk,rshk->rhqs", q, k) * q.shape[-1] ** -0.5
    if causal:
        later = torch.ones(half, count, dtype=torch.bool, device=x.device).triu(half + 1)
        scores = scores.masked_fill(later, -torch.inf)
    weights = scores.softmax(-1).mean((1, 2))
    return torch.stack([weights[:, :half].sum(-1), weights[:, half:].sum(-1)], -1)
