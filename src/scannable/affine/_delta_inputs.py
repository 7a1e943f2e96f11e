"""What goes into the delta rule, the same way in DeltaNet and in the rows that came after it."""

from torch import Tensor, nn

from scannable.affine._heads import unit_length
from scannable.affine._layer import Carry
from scannable.affine._state_space import ShortConvolution


class DeltaInputs(nn.Module):
    """Queries and keys of unit length, values, and how much is erased (Yang et al., arXiv 2406.06484, Section 3).

    Queries, keys and values pass a causal convolution over the last few tokens, and a SiLU. Queries are not scaled by
    the root of their width, since a norm follows in every row.

    Args:
        width: ``D``.
        heads: ``H``.
        keys: ``K``.
        values: ``V``.
        negative_eigenvalues: Whether up to 2 is erased, so that a state can be reflected (arXiv 2411.12537).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        keys: int,
        values: int,
        *,
        negative_eigenvalues: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.widths = heads, [heads * keys, heads * keys, heads * values]
        self.strongest = 2.0 if negative_eigenvalues else 1.0
        self.qkv = nn.Linear(width, sum(self.widths), bias=False)
        self.convolution = ShortConvolution(sum(self.widths), taps=4, bias=False)
        self.erase = nn.Linear(width, heads, bias=False)

    def forward(self, x: Tensor, carry: Carry) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return ``q``, ``k``, ``v`` and ``erase`` for ``carry.recurrence``."""
        mixed = self.convolution(self.qkv(x), carry).split(self.widths, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in mixed)
        q, k = (unit_length(part, carry.wide).to(v.dtype) for part in (q, k))
        return q, k, v, self.strongest * self.erase(x).to(carry.wide).sigmoid()
