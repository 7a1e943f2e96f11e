"""S6: a state-space model whose time step, input map and read-out depend on the token."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scannable.affine._actions import Elementwise
from scannable.affine._check import check_sizes
from scannable.affine._layer import Carry, Layer, Row
from scannable.affine._selective import selective
from scannable.affine._state_space import draw_step_biases


class S6(Layer):
    """The selective state-space model alone, as a layer (Gu and Dao, arXiv 2312.00752, Section 3).

    Each channel has a state of its own; channels meet in the maps of ``delta``, ``B`` and ``C``.

    Args:
        width: ``D``.
        state: ``S``, numbers in the state of each channel.
        rank: Of the map of ``delta``; a sixteenth of ``D`` if left out.
    """

    row = Row(
        name="s6",
        title="S6",
        action=Elementwise,
        element="exp(delta_t A),  delta_t = softplus(W x_t + b)",
        shift="(delta_t * x_t) B_t^T",
        read="S_t C_t + D * x_t",
        reference="Gu and Dao, arXiv 2312.00752, Section 3",
    )
    undecayed = ("A_log",)

    def __init__(self, width: int, state: int = 16, *, rank: int | None = None) -> None:
        super().__init__(width)
        rank = math.ceil(width / 16) if rank is None else rank
        check_sizes(state=state, rank=rank)
        self.sizes = (rank, state, state)
        self.x_proj = nn.Linear(width, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(rank, width, bias=False)
        self.dt_bias = nn.Parameter(draw_step_biases(width))
        self.A_log = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(width, 1))
        self.D = nn.Parameter(torch.ones(width))

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        low, B, C = self.x_proj(x).split(self.sizes, -1)
        delta = F.softplus(self.dt_proj(low).to(carry.wide) + self.dt_bias.to(carry.wide))
        A = -self.A_log.to(carry.wide).exp()
        return selective(x, delta, A, B, C, carry) + self.D * x
