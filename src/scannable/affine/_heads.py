"""What rows with heads have in common: how wide heads are, vectors of unit length, a norm, and the gated way out."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def head_width(width: int, heads: int, share: int | float = 1) -> int:
    """Return how wide one head is, if all of them share so much of the layer's width.

    Raises:
        ValueError: If that is no whole number.
    """
    total = round(share * width)
    if heads < 1 or total < heads or total % heads:
        raise ValueError(
            f"heads must divide the width that they share, {total}, got {heads}; choose another number or width."
        )
    return total // heads


def for_each_head(x: Tensor, heads: int) -> Tensor:
    """Give each head the queries or keys ``(B, T, G, K)`` that it shares with others: ``(B, T, H, K)``."""
    return x if x.shape[2] == heads else x.repeat_interleave(heads // x.shape[2], 2)


def unit_length(x: Tensor, wide: torch.dtype) -> Tensor:
    """Scale vectors ``(..., K)`` to a length of one, computed in ``wide``; zero stays zero, with a finite gradient."""
    x = x.to(wide)
    return x * (x.square().sum(-1, keepdim=True) + 1e-6).rsqrt()


class HeadNorm(nn.RMSNorm):
    """An RMSNorm of what each head has read, in the dtype of that, which is less than its weights' under autocast.

    Args:
        values: ``V``.
    """

    def __init__(self, values: int) -> None:
        super().__init__(values, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, T, H, V)`` to ``(B, T, H V)``."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps).flatten(2)


class GatedOutput(nn.Module):
    """The way out of a layer: a norm of what each head has read, a gate from the token, and a linear map.

    Args:
        width: ``D``.
        heads: ``H``.
        values: ``V``.
        activation: Of the gate.
    """

    def __init__(
        self, width: int, heads: int, values: int, activation: Callable[[Tensor], Tensor] = F.silu
    ) -> None:
        super().__init__()
        self.activation = activation
        self.norm = HeadNorm(values)
        self.gate = nn.Linear(width, heads * values, bias=False)
        self.map = nn.Linear(heads * values, width, bias=False)

    def forward(self, read: Tensor, x: Tensor) -> Tensor:
        """Map what was read, ``(B, T, H, V)``, and the tokens that read it, ``(B, T, D)``, to ``(B, T, D)``."""
        return self.map(self.norm(read) * self.activation(self.gate(x)))
