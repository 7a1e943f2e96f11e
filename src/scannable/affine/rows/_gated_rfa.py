"""Gated random feature attention: a softmax approximated by random features, with a gate that prefers the recent."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scannable.affine._actions import Scalar
from scannable.affine._check import check_sizes
from scannable.affine._heads import head_width, unit_length
from scannable.affine._layer import Carry, Layer, Row
from scannable.scans._option import check_option


class GatedRFA(Layer):
    """Random feature attention with a gate (Peng et al., arXiv 2103.02143, Sections 3.1 and 3.2).

    The authors draw many projections and train with all of them in turn. This layer draws once, with a variance of
    one, and keeps them. Where noise brings the denominator near zero or below, its size is taken, and at least 1e-4.

    Args:
        width: ``D``.
        heads: ``H``.
        features: ``phi``, of vectors of unit length: ``"fourier"`` is ``(sin(W x), cos(W x))``, whose products average
            to a Gaussian kernel but may be negative; ``"arccos"`` is ``relu(W x)``, never negative.
        projections: Rows of ``W``.

    Raises:
        ValueError: If there are no such features, or the heads do not fit.
    """

    row = Row(
        name="gated-rfa",
        title="Gated RFA",
        action=Scalar,
        element="g_t,  g_t = sigmoid(w x_t + b)",
        shift="(1 - g_t) phi(k_t) v_t^T",
        read="S_t^T phi(q_t) / (z_t^T phi(q_t)),  z_t = g_t z_{t-1} + (1 - g_t) phi(k_t)",
        reference="Peng et al., arXiv 2103.02143, Section 3.2",
    )

    def __init__(
        self,
        width: int,
        heads: int = 4,
        *,
        features: Literal["fourier", "arccos"] = "fourier",
        projections: int = 64,
    ) -> None:
        super().__init__(width)
        check_sizes(projections=projections)
        check_option("features", features, ("fourier", "arccos"))
        self.heads, self.features = heads, features
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.decay = nn.Linear(width, heads, bias=False)
        self.bias = nn.Parameter(torch.linspace(1, 6, heads))
        self.register_buffer("projections", torch.randn(heads, head_width(width, heads), projections))
        self.out = nn.Linear(width, width, bias=False)

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        gate = self.decay(x).to(carry.wide) + self.bias.to(carry.wide)
        q, k = self._phi(q, carry.wide), gate.neg().sigmoid()[..., None] * self._phi(k, carry.wide)
        v = F.pad(v, (0, 1), value=1.0)
        read = carry.recurrence(q.to(v.dtype), k.to(v.dtype), v, decay=F.logsigmoid(gate))
        return self.out((read[..., :-1] / read[..., -1:].abs().clamp(min=1e-4)).flatten(2))

    def _phi(self, x: Tensor, wide: torch.dtype) -> Tensor:
        x = torch.einsum("bthk,hkf->bthf", unit_length(x, wide), self.projections.to(wide))
        x = torch.cat([x.sin(), x.cos()], -1) if self.features == "fourier" else x.relu()
        return x * self.projections.shape[-1] ** -0.5
