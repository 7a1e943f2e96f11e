"""HGRN2: a gated RNN whose input gate, one minus its forget gate, is the key."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scannable.affine._actions import Diagonal
from scannable.affine._heads import HeadNorm, head_width
from scannable.affine._layer import Carry, Layer, Row


class HGRN2(Layer):
    """The second hierarchically gated RNN (Qin et al., arXiv 2404.07904).

    In its authors' models the lower bound of the forget gates rises from layer to layer. Here each learns its own.

    Args:
        width: ``D``.
        heads: ``H``.
        lower_bound: Where the lower bound begins, below 1; at 0 it stays.
    """

    row = Row(
        name="hgrn2",
        title="HGRN2",
        action=Diagonal,
        element="Diag(a_t),  a_t = g + (1 - g) sigmoid(W x_t)",
        shift="(1 - a_t) v_t^T",
        read="S_t^T q_t,  q_t = silu(W x_t)",
        reference="Qin et al., arXiv 2404.07904",
    )

    def __init__(self, width: int, heads: int = 4, *, lower_bound: float = 0.5) -> None:
        super().__init__(width)
        if not 0 <= lower_bound < 1:
            raise ValueError(
                f"lower_bound must be at least 0 and below 1, got {lower_bound}; 0 bounds nothing."
            )
        self.each = head_width(width, heads)
        self.qv = nn.Linear(width, 2 * width, bias=False)
        self.forget = nn.Linear(width, width, bias=False)
        self.bound = nn.Parameter(torch.full((width,), lower_bound).logit())
        self.norm = HeadNorm(width)
        self.out = nn.Linear(width, width, bias=False)

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        q, v = self.qv(x).unflatten(-1, (2, -1, self.each)).unbind(2)
        bound, forget = self.bound.to(carry.wide), self.forget(x).to(carry.wide)
        k = (-bound).sigmoid() * (-forget).sigmoid()
        decay = torch.logaddexp(F.logsigmoid(bound), F.logsigmoid(-bound) + F.logsigmoid(forget)).clamp(max=0)
        k, decay = (y.unflatten(-1, (-1, self.each)) for y in (k.to(v.dtype), decay))
        read = carry.recurrence(F.silu(q), k, v, decay=decay)
        return self.out(self.norm(read.flatten(2)))
