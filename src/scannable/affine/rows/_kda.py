"""Kimi Delta Attention: the gated delta rule in which every channel of the keys forgets at its own pace."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scannable.affine._actions import Dense
from scannable.affine._delta_inputs import DeltaInputs
from scannable.affine._heads import HeadNorm, head_width
from scannable.affine._layer import Carry, Layer, Row
from scannable.affine._state_space import draw_step_biases


class KimiDeltaAttention(Layer):
    """Kimi Delta Attention (Kimi Team, arXiv 2510.26692, Section 3).

    The maps to decay and output gate have the rank of a head's width.

    Args:
        width: ``D``.
        heads: ``H``.
        negative_eigenvalues: Whether up to 2 is erased, so that a state can be reflected (arXiv 2411.12537).
    """

    row = Row(
        name="kda",
        title="Kimi Delta Attention",
        action=Dense,
        element="(I - b_t k_t k_t^T) Diag(a_t),  a_t = exp(-exp(A) softplus(W x_t + c))",
        shift="b_t k_t v_t^T,  b_t = sigmoid(w_b x_t)",
        read="S_t^T q_t",
        reference="Kimi Team, arXiv 2510.26692, Section 3",
    )
    undecayed = ("A_log",)

    def __init__(self, width: int, heads: int = 4, *, negative_eigenvalues: bool = False) -> None:
        super().__init__(width)
        each = head_width(width, heads)
        self.heads = heads
        self.inputs = DeltaInputs(width, heads, each, each, negative_eigenvalues=negative_eigenvalues)
        self.decay = nn.Sequential(nn.Linear(width, each, bias=False), nn.Linear(each, width, bias=False))
        self.A_log = nn.Parameter(torch.empty(heads, 1).uniform_(1, 16).log())
        self.dt_bias = nn.Parameter(draw_step_biases(width))
        self.norm = HeadNorm(each)
        self.gate = nn.Sequential(nn.Linear(width, each, bias=False), nn.Linear(each, width, bias=False))
        self.out = nn.Linear(width, width, bias=False)

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        q, k, v, erase = self.inputs(x, carry)
        step = F.softplus(self.decay(x).to(carry.wide) + self.dt_bias.to(carry.wide))
        decay = -self.A_log.to(carry.wide).exp() * step.unflatten(-1, (self.heads, -1))
        read = carry.recurrence(q, k, v, decay=decay, erase=erase)
        return self.out(self.norm(read) * self.gate(x).sigmoid())
