"""Mamba-2: one decay a head, so that the state-space model is linear attention with a gate."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scannable.affine._actions import Scalar
from scannable.affine._check import check_sizes
from scannable.affine._heads import head_width
from scannable.affine._layer import Carry, Layer, Row
from scannable.affine._state_space import ShortConvolution, draw_step_biases


class Mamba2(Layer):
    """The Mamba-2 block (Dao and Gu, arXiv 2405.21060, Section 7), its parameters named as in published checkpoints.

    Args:
        width: ``D``.
        heads: ``H``.
        state: ``S``, the width of ``B`` and ``C``, which are keys and queries.
        expand: Inner channels for each outer one; heads share them evenly.
        groups: How many ``B`` and ``C`` there are for the heads to share; the norm is over the channels of a group.
        taps: Of the convolution, in tokens.
        shortest: The least time step.
        longest: The greatest.
        bias: Whether the maps in and out have biases.
        conv_bias: Whether the convolution has one.
    """

    row = Row(
        name="mamba2",
        title="Mamba-2",
        action=Scalar,
        element="exp(-delta_t a),  delta_t = softplus(w x_t + b)",
        shift="delta_t B_t u_t^T,  (u, B, C) = silu(conv(W x))",
        read="S_t^T C_t + d u_t",
        reference="Dao and Gu, arXiv 2405.21060, Section 7",
    )

    def __init__(
        self,
        width: int,
        heads: int = 4,
        *,
        state: int = 64,
        expand: float = 2.0,
        groups: int = 1,
        taps: int = 4,
        shortest: float = 0.0,
        longest: float = math.inf,
        bias: bool = False,
        conv_bias: bool = True,
    ) -> None:
        super().__init__(width)
        check_sizes(state=state)
        if not 0 <= shortest <= longest:
            raise ValueError(
                f"Time steps need 0 <= shortest <= longest, got {shortest} and {longest}; swap them."
            )
        if groups < 1 or heads % groups:
            raise ValueError(f"groups must divide the heads, {heads}, got {groups}; choose another number.")
        inner = heads * head_width(width, heads, expand)
        self.heads, self.groups, self.limits = heads, groups, (shortest, longest)
        self.parts = [inner, groups * state, groups * state]
        self.sizes = [inner, sum(self.parts), heads]
        self.in_proj = nn.Linear(width, sum(self.sizes), bias=bias)
        self.conv1d = ShortConvolution(sum(self.parts), taps, bias=conv_bias)
        self.dt_bias = nn.Parameter(draw_step_biases(heads))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = nn.RMSNorm(inner, eps=1e-5)
        self.out_proj = nn.Linear(inner, width, bias=bias)

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        gate, mixed, step = self.in_proj(x).split(self.sizes, -1)
        # Here rather than where it is used, so far on that compiled code would keep a wide copy for the gradient.
        gate = F.silu(gate)
        u, B, C = self.conv1d(mixed, carry).split(self.parts, -1)
        u = u.unflatten(-1, (self.heads, -1))
        B, C = (part.unflatten(-1, (self.groups, -1)) for part in (B, C))
        delta = F.softplus(step.to(carry.wide) + self.dt_bias.to(carry.wide)).clamp(*self.limits)
        decay = -delta * self.A_log.to(carry.wide).exp()
        read = carry.recurrence(C, B, delta.to(u.dtype)[..., None] * u, decay=decay)
        gated = torch.addcmul(read, self.D[:, None].to(u.dtype), u).flatten(2) * gate
        parts = gated.unflatten(-1, (self.groups, -1))
        normed = F.rms_norm(parts, parts.shape[-1:], eps=1e-5).flatten(2)
        return self.out_proj(normed * self.norm.weight.to(normed.dtype))
