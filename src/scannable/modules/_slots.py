"""Keys and values of a fixed number of slots, written in place: what a step reads that must not allocate."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

BLOCK = 128
"""Slots of a block, where their number can be divided by it."""

SlotAttention = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""``(q (R, H, 1, K), keys, values (R, H, S, K), bias (S,) or None)`` to what is read, ``(R, H, 1, K)``."""


def fused(
    q: Float[Tensor, "R H 1 K"],
    keys: Float[Tensor, "R H S K"],
    values: Float[Tensor, "R H S K"],
    bias: Float[Tensor, " S"] | None,
) -> Float[Tensor, "R H 1 K"]:
    """Read with whichever kernel of torch takes the mask."""
    mask = None if bias is None else bias.view(1, 1, 1, -1)
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)


def products(
    q: Float[Tensor, "R H 1 K"],
    keys: Float[Tensor, "R H S K"],
    values: Float[Tensor, "R H S K"],
    bias: Float[Tensor, " S"] | None,
) -> Float[Tensor, "R H 1 K"]:
    """Read by sums of products in float32 (float64 stays), which a compiler turns into a few passes over the slots."""
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = (q.to(wide) * keys.to(wide)).sum(-1) * q.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias.to(wide)
    shares = scores.softmax(-1)
    return (shares[..., None] * values.to(wide)).sum(2, keepdim=True).to(q.dtype)


def blocks(
    q: Float[Tensor, "R H 1 K"],
    keys: Float[Tensor, "R H S K"],
    values: Float[Tensor, "R H S K"],
    bias: Float[Tensor, " S"] | None,
) -> Float[Tensor, "R H 1 K"]:
    """Read blocks of slots side by side, as ``products`` does, then weigh them (arXiv 2307.08691, Section 3.1)."""
    wide = torch.promote_types(q.dtype, torch.float32)
    size = math.gcd(keys.shape[2], BLOCK)
    keys, values = (x.unflatten(2, (-1, size)).to(wide) for x in (keys, values))
    scores = (q.to(wide)[:, :, None] * keys).sum(-1) * q.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias.to(wide).unflatten(0, (-1, size))
    # The highest score of a block of hidden slots is minus infinity, from which nothing can be subtracted.
    top = scores.amax(-1, keepdim=True).clamp(min=torch.finfo(wide).min)
    shares = (scores - top).exp()
    read = (shares[..., None] * values).sum(3)
    weights = (top - top.amax(2, keepdim=True)).exp()
    total = (weights * shares.sum(-1, keepdim=True)).sum(2, keepdim=True)
    return ((weights * read).sum(2, keepdim=True) / total).to(q.dtype)


def matmul(
    q: Float[Tensor, "R H 1 K"],
    keys: Float[Tensor, "R H S K"],
    values: Float[Tensor, "R H S K"],
    bias: Float[Tensor, " S"] | None,
) -> Float[Tensor, "R H 1 K"]:
    """Read by two matrix products."""
    scores = (q @ keys.mT).to(torch.promote_types(q.dtype, torch.float32)) * q.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias
    return scores.softmax(-1).to(q.dtype) @ values


def flex(
    q: Float[Tensor, "R H 1 K"],
    keys: Float[Tensor, "R H S K"],
    values: Float[Tensor, "R H S K"],
    bias: Float[Tensor, " S"] | None,
) -> Float[Tensor, "R H 1 K"]:
    """Read with the kernel that torch writes for short queries; only for compiled steps."""

    def hide(score: Tensor, row: Tensor, head: Tensor, query: Tensor, slot: Tensor) -> Tensor:
        return score if bias is None else score + bias[slot]

    return flex_attention(q, keys, values, score_mod=hide)


# A wall to the compiler, as in ``_rotary.angles``.
@torch.library.custom_op("scannable::angles_at", mutates_args=())
def angles_at(position: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Return cosine and sine, ``(2, 1, 1, K / 2)``, of the angles of the slot at ``position`` ``(1,)``."""
    half = size // 2
    rates = 10_000.0 ** (-torch.arange(half, device=position.device, dtype=torch.float64) / half)
    turns = position[:, None, None] * rates
    return torch.stack([turns.cos(), turns.sin()]).to(dtype)


@angles_at.register_fake
def _angles_at(position: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(2, 1, 1, size // 2, dtype=dtype, device=position.device)
