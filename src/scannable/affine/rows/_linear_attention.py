"""Linear attention: a sum over all tokens, of which none is forgotten."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scannable.affine._actions import Identity
from scannable.affine._heads import HeadNorm, head_width
from scannable.affine._layer import Carry, Layer, Row
from scannable.scans._option import check_option


def _above_zero(x: Tensor) -> Tensor:
    return F.elu(x) + 1


FEATURES = {"elu": _above_zero, "relu": F.relu, "identity": Tensor.clone}


class LinearAttention(Layer):
    """Linear attention (Katharopoulos et al., arXiv 2006.16236, Section 3).

    Like the authors' code, it adds 1e-6 to the sum of the weights.

    Args:
        width: ``D``.
        heads: ``H``.
        feature_map: ``phi``; ``"elu"`` is ``elu(x) + 1``, as in the paper.
        normalised: Whether the weights of all tokens add up to one, as in the paper; features may then not be negative.
            Otherwise an RMSNorm of each head keeps sums in range (arXiv 2210.10340).

    Raises:
        ValueError: If weights that may cancel out are to add up to one, or the heads do not fit.
    """

    row = Row(
        name="linear-attention",
        title="Linear Attention",
        action=Identity,
        element="1",
        shift="phi(k_t) v_t^T",
        read="S_t^T phi(q_t) / (z_t^T phi(q_t)),  z_t = z_{t-1} + phi(k_t)",
        reference="Katharopoulos et al., arXiv 2006.16236, Section 3",
    )

    def __init__(
        self,
        width: int,
        heads: int = 4,
        *,
        feature_map: Literal["elu", "relu", "identity"] = "elu",
        normalised: bool = True,
    ) -> None:
        super().__init__(width)
        values = head_width(width, heads)
        check_option("feature_map", feature_map, tuple(FEATURES))
        if normalised and feature_map == "identity":
            raise ValueError(
                "normalised=True needs features that are not negative, got feature_map='identity'; "
                "choose 'elu' or 'relu', or normalised=False."
            )
        self.heads, self.phi = heads, FEATURES[feature_map]
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.norm = None if normalised else HeadNorm(values)
        self.out = nn.Linear(width, width, bias=False)

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = self.phi(q), self.phi(k)
        if self.norm is not None:
            return self.out(self.norm(carry.recurrence(q, k, v)))
        # Float16 ends at 65,504, which the sum of the weights of a long text passes.
        q, k, values = (x.to(carry.wide) if x.dtype == torch.float16 else x for x in (q, k, v))
        read = carry.recurrence(q, k, F.pad(values, (0, 1), value=1.0))
        return self.out((read[..., :-1] / (read[..., -1:] + 1e-6)).to(v.dtype).flatten(2))
