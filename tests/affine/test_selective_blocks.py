"""The selective scan goes through long sequences in blocks of tokens, which it makes again for the backward pass."""

import pytest
import torch
import torch.nn.functional as F

from affine.cases import distance
from scannable.affine import Carry, RowState, _selective
from scannable.affine._selective import selective

WIDTH, STATE = 3, 2


def draw(batch, length, sequences):
    u, step = torch.randn(2, batch, length, WIDTH).double()
    B, C = torch.randn(2, batch, length, STATE).double()
    state = torch.randn(sequences, WIDTH, STATE).double()
    given = [u, F.softplus(step), -torch.rand(WIDTH, STATE).double(), B, C, state]
    return [x.requires_grad_() for x in given]


def run(*given, lengths=None):
    *inputs, state = given
    carry = Carry(RowState("s6", state), lengths, torch.float64, None, "inputs")
    return selective(*inputs, carry), carry.found["memory"]


@pytest.mark.parametrize("lengths", [None, [0, 7, 13, 3, 0]], ids=str)
def test_blocks_change_neither_outputs_nor_states_nor_gradients(monkeypatch, lengths):
    batch = 2 if lengths is None else 1
    given = draw(batch, 23, batch if lengths is None else len(lengths))
    found = []
    for tokens in (23, 4):
        monkeypatch.setitem(_selective.ENTRIES, "cpu", tokens * batch * WIDTH * STATE)
        outputs = run(*given, lengths=lengths)
        given_back = [x.detach().cos() for x in outputs]
        found.append([*outputs, *torch.autograd.grad(outputs, given, given_back)])
    assert all(distance(x.detach(), y.detach()) < 1e-12 for x, y in zip(*found, strict=True))


def test_blocks_have_derivatives_of_second_order(monkeypatch):
    monkeypatch.setitem(_selective.ENTRIES, "cpu", 2 * WIDTH * STATE)
    torch.autograd.gradgradcheck(run, draw(1, 5, 1), fast_mode=True)


def test_a_state_of_another_shape_is_refused_before_any_block_is_read(monkeypatch):
    monkeypatch.setitem(_selective.ENTRIES, "cpu", 1)
    *inputs, _ = draw(1, 5, 1)
    with pytest.raises(ValueError, match="must have shape"):
        run(*inputs, torch.zeros(2, WIDTH, STATE).double(), lengths=[1, 2, 2])
