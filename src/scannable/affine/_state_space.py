"""What state-space rows have in common: time steps as they are before training, and a short convolution."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from scannable.affine._check import check_sizes
from scannable.affine._layer import Carry

SHORTEST, LONGEST = 0.001, 0.1


def draw_log_steps(count: int) -> Tensor:
    """Draw logarithms of time steps, evenly from that of 0.001 to that of 0.1 (arXiv 2312.00752, Section 3.6)."""
    return torch.empty(count).uniform_(math.log(SHORTEST), math.log(LONGEST))


def draw_step_biases(count: int) -> Tensor:
    """Draw biases whose softplus is such a time step."""
    return draw_log_steps(count).exp().expm1().log()


class ShortConvolution(nn.Module):
    """A causal convolution of each channel with a few taps, and a SiLU, across calls and packed neighbours.

    Its parameters have the shapes of an ``nn.Conv1d``, as in published checkpoints.

    Args:
        channels: How many there are.
        taps: How many tokens it sees.
        bias: Whether it has biases.
    """

    def __init__(self, channels: int, taps: int, *, bias: bool) -> None:
        super().__init__()
        check_sizes(taps=taps, channels=channels)
        bound = taps**-0.5
        self.weight = nn.Parameter(torch.empty(channels, 1, taps).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Float[Tensor, "B T channels"], carry: Carry) -> Float[Tensor, "B T channels"]:
        return F.silu(carry.convolve(x, self.weight.squeeze(1), self.bias)).to(x.dtype)
