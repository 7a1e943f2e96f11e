"""Gated Linear Attention: every channel of the keys forgets at its own pace."""

import torch.nn.functional as F
from torch import Tensor, nn

from scannable.affine._actions import Diagonal
from scannable.affine._check import check_sizes
from scannable.affine._heads import GatedOutput, head_width
from scannable.affine._layer import Carry, Layer, Row


class GLA(Layer):
    """Gated Linear Attention (Yang et al., arXiv 2312.06635, Section 4).

    Queries are divided by the root of their width, as in the authors' code.

    Args:
        width: ``D``.
        heads: ``H``.
        key_share: The keys' width as a share of ``D``.
        rank: Of the gates' map.
        slowness: The gate is ``sigmoid(.)**(1 / slowness)``.
    """

    row = Row(
        name="gla",
        title="GLA",
        action=Diagonal,
        element="Diag(a_t),  a_t = sigmoid(W x_t + b)^(1/16)",
        shift="k_t v_t^T",
        read="S_t^T q_t",
        reference="Yang et al., arXiv 2312.06635, Section 4",
    )

    def __init__(
        self,
        width: int,
        heads: int = 4,
        *,
        key_share: int | float = 0.5,
        rank: int = 16,
        slowness: int | float = 16.0,
    ) -> None:
        super().__init__(width)
        check_sizes(rank=rank)
        if not slowness > 0:
            raise ValueError(f"slowness must be above zero, got {slowness}; 1 leaves the sigmoid as it is.")
        each, values = head_width(width, heads, key_share), head_width(width, heads)
        keys = heads * each
        self.heads, self.slowness, self.scale = heads, slowness, each**-0.5
        self.qk = nn.Linear(width, 2 * keys, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.decay = nn.Sequential(nn.Linear(width, rank, bias=False), nn.Linear(rank, keys))
        self.out = GatedOutput(width, heads, values)

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        q, k = self.qk(x).unflatten(-1, (2, self.heads, -1)).unbind(2)
        v = self.v(x).unflatten(-1, (self.heads, -1))
        decay = F.logsigmoid(self.decay(x).to(carry.wide)).unflatten(-1, (self.heads, -1)) / self.slowness
        return self.out(carry.recurrence(self.scale * q, k, v, decay=decay), x)
