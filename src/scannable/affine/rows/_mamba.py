"""Mamba: S6 behind a short convolution, beside a gate."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from scannable.affine._actions import Elementwise
from scannable.affine._layer import Carry, Layer, Row
from scannable.affine._state_space import ShortConvolution
from scannable.affine.rows._s6 import S6


class Mamba(Layer):
    """The Mamba block (Gu and Dao, arXiv 2312.00752, Section 3.4).

    Parameters have the names and shapes of published checkpoints. Those of S6 are in ``ssm``, and ``dt_proj.bias`` is
    ``ssm.dt_bias``.

    Args:
        width: ``D``.
        state: ``S``, numbers in the state of each inner channel.
        expand: Inner channels for each outer one.
        taps: Of the convolution, in tokens.
        rank: Of the map of ``delta``; a sixteenth of ``D`` if left out.
        bias: Whether the maps in and out have biases.
        conv_bias: Whether the convolution has one.
    """

    row = Row(
        name="mamba",
        title="Mamba",
        action=Elementwise,
        element="exp(delta_t A),  delta_t = softplus(W u_t + b),  u = silu(conv(W x))",
        shift="(delta_t * u_t) B_t^T",
        read="(S_t C_t + D * u_t) * silu(W x_t)",
        reference="Gu and Dao, arXiv 2312.00752, Section 3.4",
    )

    def __init__(
        self,
        width: int,
        state: int = 16,
        *,
        expand: float = 2.0,
        taps: int = 4,
        rank: int | None = None,
        bias: bool = False,
        conv_bias: bool = True,
    ) -> None:
        super().__init__(width)
        inner = round(expand * width)
        self.in_proj = nn.Linear(width, 2 * inner, bias=bias)
        self.conv1d = ShortConvolution(inner, taps, bias=conv_bias)
        self.ssm = S6(inner, state, rank=math.ceil(width / 16) if rank is None else rank)
        self.out_proj = nn.Linear(inner, width, bias=bias)

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        u, gate = self.in_proj(x).chunk(2, -1)
        return self.out_proj(self.ssm.mix(self.conv1d(u, carry), carry) * F.silu(gate))
