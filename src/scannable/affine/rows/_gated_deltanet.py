"""Gated DeltaNet: the delta rule, and a factor for each head that lets it forget everything."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scannable.affine._actions import Dense
from scannable.affine._delta_inputs import DeltaInputs
from scannable.affine._heads import GatedOutput, head_width
from scannable.affine._layer import Carry, Layer, Row
from scannable.affine._state_space import draw_step_biases


class GatedDeltaNet(Layer):
    """Gated DeltaNet (Yang et al., arXiv 2412.06464, Section 3).

    Args:
        width: ``D``.
        heads: ``H``.
        key_share: The keys' width as a share of ``D``.
        value_share: The values' width as a share of ``D``.
        negative_eigenvalues: Whether up to 2 is erased, so that a state can be reflected (arXiv 2411.12537).
    """

    row = Row(
        name="gated-deltanet",
        title="Gated DeltaNet",
        action=Dense,
        element="a_t (I - b_t k_t k_t^T),  a_t = exp(-exp(A) softplus(w_a x_t + c)),  b_t = sigmoid(w_b x_t)",
        shift="b_t k_t v_t^T",
        read="S_t^T q_t",
        reference="Yang et al., arXiv 2412.06464, Section 3",
    )

    def __init__(
        self,
        width: int,
        heads: int = 4,
        *,
        key_share: int | float = 0.75,
        value_share: int | float = 1.5,
        negative_eigenvalues: bool = False,
    ) -> None:
        super().__init__(width)
        keys, values = head_width(width, heads, key_share), head_width(width, heads, value_share)
        self.inputs = DeltaInputs(width, heads, keys, values, negative_eigenvalues=negative_eigenvalues)
        self.decay = nn.Linear(width, heads, bias=False)
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.dt_bias = nn.Parameter(draw_step_biases(heads))
        self.out = GatedOutput(width, heads, values)

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        q, k, v, erase = self.inputs(x, carry)
        step = F.softplus(self.decay(x).to(carry.wide) + self.dt_bias.to(carry.wide))
        read = carry.recurrence(q, k, v, decay=-self.A_log.to(carry.wide).exp() * step, erase=erase)
        return self.out(read, x)
