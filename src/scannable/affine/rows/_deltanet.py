"""DeltaNet: what the state says of a key is taken out before the new value is written."""

from torch import Tensor, nn

from scannable.affine._actions import Dense
from scannable.affine._delta_inputs import DeltaInputs
from scannable.affine._heads import HeadNorm, head_width
from scannable.affine._layer import Carry, Layer, Row


class DeltaNet(Layer):
    """DeltaNet (Yang et al., arXiv 2406.06484, Sections 2.2 and 3).

    Queries and keys have a length of one. Queries are not scaled further, since a norm follows.

    Args:
        width: ``D``.
        heads: ``H``.
        negative_eigenvalues: Whether up to 2 is erased, so that a state can be reflected (arXiv 2411.12537).
    """

    row = Row(
        name="deltanet",
        title="DeltaNet",
        action=Dense,
        element="I - b_t k_t k_t^T,  b_t = sigmoid(w x_t)",
        shift="b_t k_t v_t^T",
        read="S_t^T q_t",
        reference="Yang et al., arXiv 2406.06484, Sections 2.2 and 3",
    )

    def __init__(self, width: int, heads: int = 4, *, negative_eigenvalues: bool = False) -> None:
        super().__init__(width)
        each = head_width(width, heads)
        self.inputs = DeltaInputs(width, heads, each, each, negative_eigenvalues=negative_eigenvalues)
        self.norm = HeadNorm(each)
        self.out = nn.Linear(width, width, bias=False)

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        q, k, v, erase = self.inputs(x, carry)
        return self.out(self.norm(carry.recurrence(q, k, v, erase=erase)))
