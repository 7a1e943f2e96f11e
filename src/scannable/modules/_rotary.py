"""Rotary positions: pairs of channels turn by angles that grow with the slot (arXiv 2104.09864, Section 3.2)."""

import torch
from jaxtyping import Float
from torch import Tensor


# An operator of our own is a wall to the compiler, which would otherwise compute every sine again wherever it is used.
@torch.library.custom_op("scannable::angles", mutates_args=())
def angles(places: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Return cosine and sine, ``(2, n, 1, K / 2)``, of the angles of slots at ``places``, whole numbers ``(n,)``.

    A pair of channels has a rate of its own, from one radian a slot down to nearly ``1e-4``. Angles are made in
    float64, so that far positions keep them.
    """
    half = size // 2
    rates = 10_000.0 ** (-torch.arange(half, device=places.device, dtype=torch.float64) / half)
    turns = places[:, None, None] * rates
    return torch.stack([turns.cos(), turns.sin()]).to(dtype)


@angles.register_fake
def _angles(places: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(2, places.shape[0], 1, size // 2, dtype=dtype, device=places.device)


def rotate(
    x: Float[Tensor, "R n H K"], rotation: Float[Tensor, "2 m 1 half"] | None, first: int = 0
) -> Float[Tensor, "R n H K"]:
    """Turn pairs of channels ``(i, i + K / 2)`` by the angles of slots ``first`` and on."""
    if rotation is None:
        return x
    cos, sin = rotation[:, first:]
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1).to(x.dtype)
