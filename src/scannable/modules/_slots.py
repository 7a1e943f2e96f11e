"""Keys and values of a fixed number of slots, written in place: what a step reads that must not allocate."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

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


@dataclass(frozen=True)
class Slots:
    """One layer's keys and values, of which one slot is written at each step.

    Hidden slots count for nothing, but are read: they must hold finite numbers.
    """

    keys: Float[Tensor, "R H S K"]
    """Keys of all slots."""
    values: Float[Tensor, "R H S K"]
    """Values of all slots."""
    place: Int[Tensor, "1"]
    """Which slot is written."""
    bias: Float[Tensor, " S"] | None
    """0 where a slot is seen and minus infinity where it is hidden; None where all are seen."""
    attention: SlotAttention = fused
    """How they are read."""

    def read(
        self, q: Float[Tensor, "R 1 H K"], k: Float[Tensor, "R 1 H K"], v: Float[Tensor, "R 1 H K"]
    ) -> Float[Tensor, "R 1 H K"]:
        """Write one slot, then read all that are seen."""
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        self.keys.index_copy_(2, self.place, k)
        self.values.index_copy_(2, self.place, v)
        return self.attention(q, self.keys, self.values, self.bias).transpose(1, 2)
