"""How a step of a stack is worked out: by torch's operators or, on a GPU, by kernels for one token."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from scannable.modules import Transformer
from scannable.modules._rotary import rotate

FEW = 32
"""Rows up to which kernels of our own map them."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One way to work out a step."""

    linear: Callable[..., Tensor]
    """Maps rows, as `linear` does."""
    attend: Callable[..., Tensor]
    """Rotates, writes a slot, and reads all, as `attend` does."""
    compiled: bool = True
    """Whether there is anything to fuse for a compiler."""


def fastest(stack: Transformer, batch: int) -> Work:
    """Return the fastest way known for a stack where it is.

    Up to `FEW` rows are mapped by kernels that take norm, bias, activation and sum along; more are left to torch's
    matrix products, and to a compiler what is around them.
    """
    like, size = next(stack.parameters()), stack.size
    whole = size & (size - 1) == 0
    if like.device.type != "cuda" or like.dtype == torch.float64 or not whole or find_spec("triton") is None:
        return TORCH
    from scannable.models._stepper_attention import Attend  # needs triton
    from scannable.models._stepper_maps import Maps, overlaps

    early = overlaps(like.device)
    if batch == 1:
        return Work(linear=Maps(early=early), attend=Attend(parts=8, block=64, early=early), compiled=False)
    if batch <= FEW:
        return Work(
            linear=Maps(early=early), attend=Attend(parts=4, block=32, warps=1, early=early), compiled=False
        )
    return Work(linear=linear, attend=Attend(parts=4, block=32, warps=2))


def linear(
    x: Float[Tensor, "B D"],
    weight: Float[Tensor, "E D"],
    bias: Float[Tensor, " E"] | None = None,
    *,
    norm: nn.LayerNorm | None = None,
    gelu: bool = False,
    add: Float[Tensor, "B E"] | None = None,
) -> Float[Tensor, "B E"]:
    """Map what was normed; then activate, or add."""
    x = x if norm is None else norm(x)
    # A head works on columns, whose memory is aligned however many tokens there are.
    y = (weight @ x.T).T if bias is None else F.linear(x, weight, bias)
    y = F.gelu(y, approximate="tanh") if gelu else y
    return y if add is None else add + y


def attend(
    qkv: Float[Tensor, "B D3"],
    kept: Float[Tensor, "2 B H S K"],
    rotation: Float[Tensor, "2 1 1 half"] | None,
    place: Int[Tensor, "1"],
    bias: Float[Tensor, " S"] | None,
    *,
    ordered: bool,
) -> Float[Tensor, "B D"]:
    """Keep the key and value of one slot in its place, then read all that are seen.

    Args:
        qkv: Query, key and value of the slot.
        kept: Keys and values of all slots, written in place.
        rotation: Cosine and sine of the slot's angles.
        place: Where the slot is kept.
        bias: Minus infinity where nothing is kept; all places are read if left out.
        ordered: Whether nothing is kept behind the place either; the bias says so too.
    """
    _, _, heads, _, size = kept.shape
    q, k, v = (x.unflatten(-1, (heads, size))[:, None] for x in qkv.chunk(3, -1))
    q, k = rotate(q, rotation), rotate(k, rotation)
    kept.index_copy_(3, place, torch.stack([k, v]).transpose(2, 3))
    mask = None if bias is None else bias.view(1, 1, 1, -1)
    return F.scaled_dot_product_attention(q.transpose(1, 2), kept[0], kept[1], attn_mask=mask).flatten(1)


TORCH = Work(linear=linear, attend=attend)
"""The way that works everywhere."""
