"""A table of vectors: what tokens are embedded as, what a tied head compares with, what a codebook snaps to."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class Codes(nn.Module):
    """Learned vectors, one for each of ``count`` codes.

    Args:
        count: How many there are.
        width: ``D``.
        norm: The length of every vector, so that the nearest one, the one of largest inner product and the one of
            smallest angle are the same; None leaves lengths free.
    """

    def __init__(self, count: int, width: int, *, norm: float | None = None) -> None:
        super().__init__()
        if count < 1:
            raise ValueError(f"There must be at least one code, got {count}; raise it.")
        if norm is not None and not norm > 0:
            raise ValueError(
                f"The norm of codes must be positive, got {norm}; leave it out to set lengths free."
            )
        self.norm = norm
        self.weight = nn.Parameter(torch.randn(count, width) / width**0.5)

    def vectors(self) -> Float[Tensor, "codes D"]:
        """Return all codes."""
        return self.weight if self.norm is None else self.norm * F.normalize(self.weight, dim=-1)

    def forward(self, indices: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        """Return the code of each index."""
        return F.embedding(indices, self.vectors())
