"""What compiled code keeps in memory is what it computed, however the memory of a gradient is laid out."""

import pytest
import torch

from scannable.affine._window import Window, convolve
from scannable.testing._subject import relative

READERS = {
    "all": lambda y: (y * y).sum(),
    "one for all tokens": lambda y: (y.sum(1) * torch.arange(6.0, dtype=y.dtype)).sum(),
    "one for all rows": lambda y: (y.sum(0) * torch.arange(54.0, dtype=y.dtype).view(9, 6)).sum(),
    "a slice": lambda y: (y[:, 2:7, 1:4] ** 2).sum(),
    "channels first": lambda y: (y.mT.cumsum(2) ** 2).sum(),
}
"""What reads a convolution; their gradients are dense, expanded, padded and transposed."""


@pytest.mark.compile
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when it imports its compiler
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_a_compiled_convolution_has_the_gradients_of_a_plain_one(reader):
    torch.manual_seed(0)
    shapes = (2, 9, 6), (6, 4), (6,)
    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def run(x, weight, bias):
        return reader(convolve(Window(x, None, None, 3, x.dtype), weight, bias))

    torch.compiler.reset()
    found = torch.autograd.grad(torch.compile(run, fullgraph=True)(*given), given)
    expected = torch.autograd.grad(run(*given), given)
    assert all(relative(x, y) < 1e-12 for x, y in zip(found, expected, strict=True))
