"""RetNet: every head forgets at a pace of its own, which is never learned."""

import torch
from torch import Tensor, nn

from scannable.affine._actions import Scalar
from scannable.affine._heads import GatedOutput, head_width
from scannable.affine._layer import Carry, Layer, Row


class RetNet(Layer):
    """Multi-scale retention (Sun et al., arXiv 2307.08621, Section 2.2).

    The original also rotates queries and keys by their position (xPos). This layer does not: the row of the table is
    the decay, and the state holds no position. Heads are normalised by RMSNorm, as in the authors' later code; what the
    paper divides retention scores by is left out, since the norm would undo it.

    Args:
        width: ``D``.
        heads: ``H``; head ``h``, from 0, forgets a share ``2^(-5 - h)`` with each token.
        value_share: The values' width as a share of ``D``.
    """

    row = Row(
        name="retnet",
        title="RetNet",
        action=Scalar,
        element="g_h,  g_h = 1 - 2^(-5 - h)",
        shift="k_t v_t^T",
        read="S_t^T q_t",
        reference="Sun et al., arXiv 2307.08621, Section 2.2",
    )

    def __init__(self, width: int, heads: int = 4, *, value_share: float = 2.0) -> None:
        super().__init__(width)
        keys, values = head_width(width, heads), head_width(width, heads, value_share)
        self.heads, self.scale = heads, keys**-0.5
        self.qk = nn.Linear(width, 2 * width, bias=False)
        self.v = nn.Linear(width, heads * values, bias=False)
        self.out = GatedOutput(width, heads, values)

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        q, k = self.qk(x).unflatten(-1, (2, self.heads, -1)).unbind(2)
        v = self.v(x).unflatten(-1, (self.heads, -1))
        head = torch.arange(self.heads, dtype=carry.wide, device=x.device)
        decay = (-(-5 - head).exp2()).log1p().expand(q.shape[:3])
        return self.out(carry.recurrence(q, self.scale * k, v, decay=decay), x)
