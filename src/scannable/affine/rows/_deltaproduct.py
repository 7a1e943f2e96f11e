"""DeltaProduct: several steps of the delta rule for each token, so that one token can turn the state."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scannable.affine._actions import Dense
from scannable.affine._heads import GatedOutput, head_width, unit_length
from scannable.affine._layer import Carry, Layer, Row
from scannable.affine._state_space import ShortConvolution, draw_step_biases


class DeltaProduct(Layer):
    """DeltaProduct, gated or not (Siems et al., arXiv 2502.10297).

    Each token becomes ``factors`` steps of the recurrence: the first one decays the state, the last one is read.

    Args:
        width: ``D``.
        heads: ``H``.
        factors: Householder-type factors a token; two of them can rotate, one can only reflect.
        gated: Whether states decay.
        negative_eigenvalues: Whether up to 2 is erased, where a factor is a reflection (arXiv 2411.12537).
        taps: How many tokens the convolution of queries, keys and values sees.
    """

    row = Row(
        name="deltaproduct",
        title="DeltaProduct",
        action=Dense,
        element="a_t H_n ... H_1,  H_j = I - b_tj k_tj k_tj^T",
        shift="sum over j of H_n ... H_{j+1} b_tj k_tj v_tj^T",
        read="S_t^T q_t",
        reference="Siems et al., arXiv 2502.10297",
    )

    def __init__(
        self,
        width: int,
        heads: int = 4,
        *,
        factors: int = 2,
        gated: bool = True,
        negative_eigenvalues: bool = True,
        taps: int = 4,
    ) -> None:
        super().__init__(width)
        if factors < 1:
            raise ValueError(f"factors must be at least 1, got {factors}; with 1 it is (Gated) DeltaNet.")
        self.heads, self.factors, self.gated = heads, factors, gated
        self.strongest = 2.0 if negative_eigenvalues else 1.0
        channels = (1 + 2 * factors) * width
        self.qkv = nn.Linear(width, channels, bias=False)
        self.convolution = ShortConvolution(channels, taps, bias=False)
        self.erase = nn.Linear(width, factors * heads, bias=False)
        if gated:
            self.decay = nn.Linear(width, heads, bias=False)
            self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
            self.dt_bias = nn.Parameter(draw_step_biases(heads))
        self.out = GatedOutput(width, heads, head_width(width, heads))

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        n = self.factors
        qkv = self.convolution(self.qkv(x), carry).unflatten(-1, (1 + 2 * n, self.heads, -1))
        q, k, v = qkv.split([1, n, n], 2)
        q, k = (unit_length(part, carry.wide).to(v.dtype) for part in (q, k))
        q = F.pad(q, (0, 0, 0, 0, n - 1, 0))
        erase = self.strongest * self.erase(x).to(carry.wide).sigmoid().unflatten(-1, (n, self.heads))
        q, k, v, erase = (part.flatten(1, 2) for part in (q, k, v, erase))
        read = carry.recurrence(q, k, v, decay=self._decay(x, carry), erase=erase, steps=n)
        return self.out(read[:, n - 1 :: n], x)

    def _decay(self, x: Tensor, carry: Carry) -> Tensor | None:
        if not self.gated:
            return None
        step = F.softplus(self.decay(x).to(carry.wide) + self.dt_bias.to(carry.wide))
        decay = -self.A_log.to(carry.wide).exp() * step
        return F.pad(decay[:, :, None], (0, 0, 0, self.factors - 1)).flatten(1, 2)
