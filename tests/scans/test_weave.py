import pytest
import torch

from scannable.scans._weave import join, split, unweave, weave


@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_weave_interleaves_and_unweave_undoes_it(length):
    evens, odds = torch.randn(2, length, 3), torch.randn(2, length, 3)
    (woven,) = weave([evens], [odds])
    assert torch.equal(woven[:, 0::2], evens)
    assert torch.equal(woven[:, 1::2], odds)
    (left,), (right,) = unweave([woven])
    assert torch.equal(left, evens)
    assert torch.equal(right, odds)


@pytest.mark.parametrize("at", [0, 1, 4, 5])
def test_join_undoes_split(at):
    sequence = torch.randn(2, 5)
    pieces = split([sequence], at)
    assert [piece[0].shape[1] for piece in pieces] == [at, 5 - at]
    assert torch.equal(join(pieces)[0], sequence)


def test_gradients_are_those_of_the_maps():
    evens, odds = (torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x, y: weave([x], [y])[0], (evens, odds))
    woven = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: tuple(part[0] for part in unweave([x])), (woven,))
    assert torch.autograd.gradgradcheck(lambda x, y: weave([x], [y])[0], (evens, odds))
