"""S4 with a real diagonal: a linear time-invariant filter for each channel."""

import torch
from torch import Tensor, nn

from scannable.affine._actions import Elementwise
from scannable.affine._check import check_sizes
from scannable.affine._layer import Carry, Layer, Row
from scannable.affine._state_space import draw_log_steps


class S4(Layer):
    """S4D with real rates, discretised exactly, by zero-order hold (Gu et al., arXiv 2206.11893, Section 3).

    Rates begin at ``-1, ..., -S`` (S4D-Real, arXiv 2312.00752, Section 3.6). ``B`` is one: in a diagonal model only its
    product with ``C`` matters. Channels do not meet here; that is the business of the maps around the layer.

    Args:
        width: ``D``.
        state: ``S``, numbers in the state of each channel.
    """

    row = Row(
        name="s4",
        title="S4",
        action=Elementwise,
        element="exp(delta A)",
        shift="(exp(delta A) - 1) / A * x_t",
        read="sum over S of C * s_t, + D * x_t",
        reference="Gu et al., arXiv 2206.11893, Section 3",
    )
    undecayed = ("A_log",)

    def __init__(self, width: int, state: int = 16) -> None:
        super().__init__(width)
        check_sizes(state=state)
        self.log_step = nn.Parameter(draw_log_steps(width))
        self.A_log = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(width, 1))
        self.C = nn.Parameter(torch.randn(width, state))
        self.D = nn.Parameter(torch.ones(width))

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        rate = self.A_log.to(carry.wide).exp()
        decay = -self.log_step.to(carry.wide).exp()[:, None] * rate
        write = x[..., None] * (-torch.expm1(decay) / rate)
        states = carry.elementwise(write, decay.expand_as(write))
        return (states * self.C.to(carry.wide)).sum(-1).to(x.dtype) + self.D * x
