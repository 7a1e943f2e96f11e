"""The pairs of a layer are what its recurrence computes with."""

import pytest
import torch

from scannable import scan
from scannable.affine import ROWS, lifted
from scannable.testing import assert_associative
from scannable.testing._subject import relative


@pytest.mark.parametrize("name", ROWS)
def test_pairs_are_those_of_the_recurrence_and_associative(name):
    with torch.random.fork_rng(devices=[]):
        layer = ROWS[name](16).double()
        x = torch.randn(1, 5, 16, dtype=torch.float64)
    action, leaves = lifted(layer, x)
    assert isinstance(action, ROWS[name].row.action)
    assert_associative(action, leaves)
    states = scan(action, leaves, inclusive=True)[1]
    assert relative(states[:, -1], layer(x)[1].memory) <= 1e-12


def test_pairs_of_a_long_text_are_those_of_the_whole():
    layer = ROWS["mamba"](128)
    action, leaves = lifted(layer, torch.randn(8, 64, 128))
    states = scan(action, leaves, inclusive=True)[1]
    assert states.shape[:2] == (8, 64)
