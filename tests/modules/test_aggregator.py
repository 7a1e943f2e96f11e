"""Aggregators as operators: scanned as they are, and each one's own law."""

import pytest
import torch

from agreement import at
from models.subjects import refuses, stir
from scannable.modules import MLP, GatedSum, MatrixProduct, Transformer, TransformerAggregator, TreeLSTM
from scannable.scans import Aggregator
from scannable.testing import assert_associative, assert_duality, assert_resume, check_associative
from scannable.testing._subject import relative


def attention(layers=1, positions="absolute", **switches):
    return stir(TransformerAggregator(Transformer(4, 2, layers, positions=positions, slots=6), **switches))


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


SUBJECTS = {
    "attention": (attention(), (3, 4)),
    "learned identity": (attention(learned_identity=3), (3, 4)),
    "gated sum": (stir(GatedSum(4)), (3, 4)),
    "gated sum of vectors": (stir(GatedSum(4)), (4,)),
    "MLP": (stir(MLP(4, 8)), (3, 4)),
    "matrix product": (MatrixProduct(), (4, 4)),
}


@pytest.mark.parametrize(("aggregator", "shape"), SUBJECTS.values(), ids=SUBJECTS)
def test_scan_equals_counter(aggregator, shape):
    assert isinstance(aggregator, Aggregator)
    assert_duality(aggregator, draw(2, 13, *shape), gradients=True)
    assert_resume(aggregator, draw(2, 6, *shape))


def test_a_state_may_be_a_pair():
    leaves = draw(2, 13, 4), draw(2, 13, 4, seed=1)
    assert_duality(stir(TreeLSTM(4)), leaves, gradients=True)


@pytest.mark.parametrize(("aggregator", "shape"), SUBJECTS.values(), ids=SUBJECTS)
def test_order_matters(aggregator, shape):
    left, right = draw(2, 5, *shape).unbind(1)[:2]
    with torch.no_grad():
        assert relative(aggregator.combine(left, right), aggregator.combine(right, left)) > 1e-3


def test_only_the_matrix_product_is_associative():
    assert_associative(MatrixProduct(), draw(5, 13, 4, 4))
    for name, (aggregator, shape) in SUBJECTS.items():
        if name != "matrix product":
            assert not check_associative(aggregator, draw(5, 13, *shape)).passed


def test_matrix_products_are_plain_products_and_its_identity_is_one():
    leaves = draw(2, 3, 4, 4)
    a, b, c = leaves.unbind(1)
    assert torch.equal(MatrixProduct().combine(a, b), a @ b)
    assert torch.equal(MatrixProduct().identity(c) @ c, c)


@pytest.mark.parametrize(("aggregator", "shape"), SUBJECTS.values(), ids=SUBJECTS)
def test_the_identity_is_like_a_state(aggregator, shape):
    for dtype in (torch.float32, torch.float64):
        like = draw(2, *shape).to(dtype)
        empty = aggregator.identity(like)
        assert (empty.shape, empty.dtype) == (like.shape, dtype)


def test_a_tree_lstm_forgets_and_writes_by_its_gates():
    cell = TreeLSTM(4).double()
    state = [(draw(2, 4, seed=i), draw(2, 4, seed=i + 9)) for i in range(2)]
    with torch.no_grad():
        cell.gates.weight.zero_()
        cell.gates.bias.copy_(torch.tensor([50.0, -50, -50, 50, 0]).repeat_interleave(4))
        hidden, kept = cell.combine(*state)
        assert relative(kept, state[0][1]) < 1e-12
        assert relative(hidden, torch.tanh(kept)) < 1e-12
        cell.gates.bias.copy_(torch.tensor([-50.0, 50, 50, 50, 0.3]).repeat_interleave(4))
        assert relative(cell.combine(*state)[1], state[1][1] + torch.tanh(torch.tensor(0.3))) < 1e-6


def test_the_right_half_is_what_the_full_stack_computes_there():
    for layers in (1, 3):
        for causal in (False, True):
            aggregator = attention(layers, causal=causal)
            left, right = draw(2, 5, 3, 4).unbind(1)[:2]
            with torch.no_grad():
                full = aggregator.stack(torch.cat([left, right], 1), causal=causal)[:, 3:]
                assert relative(aggregator.combine(left, right), full) < 1e-12


def test_the_causal_mask_of_the_authors_code_changes_what_is_computed():
    """Slot ``j`` of the right state sees no later slot of it: then the paper's aggregator is another one."""
    states = draw(2, 5, 3, 4).unbind(1)[:2]
    paper, code = (attention(causal=causal) for causal in (False, True))
    with torch.no_grad():
        merged = [aggregator.combine(*states) for aggregator in (paper, code)]
        later = states[1].clone()
        later[:, 2] = draw(2, 4, seed=7)
        changed = [aggregator.combine(states[0], later) for aggregator in (paper, code)]
    assert relative(merged[1][:, :-1], merged[0][:, :-1]) > 1e-2
    assert relative(merged[1][:, -1], merged[0][:, -1]) < 1e-12  # the last slot sees everything in both
    assert relative(changed[0][:, 0], merged[0][:, 0]) > 1e-3
    assert torch.equal(changed[1][:, :2], merged[1][:, :2])


@pytest.mark.parametrize(("layers", "same"), [(1, True), (2, False)])
def test_with_one_slot_and_one_layer_the_mask_makes_no_difference(layers, same):
    """With two layers it does: the left slot is then read after it saw the right one, or before."""
    states = draw(2, 5, 1, 4).unbind(1)[:2]
    with torch.no_grad():
        paper, code = (attention(layers, causal=causal).combine(*states) for causal in (False, True))
    assert (relative(code, paper) < 1e-12) == same


def test_without_slots_of_its_own_attention_cannot_tell_left_slots_from_right_ones():
    """As in the authors' code, where positions are only added to the tokens."""
    left, right = draw(2, 5, 3, 4).unbind(1)[:2]
    for positions, blind in (("none", True), ("absolute", False), ("rotary", False)):
        aggregator = attention(positions=positions)
        with torch.no_grad():
            both = torch.cat([left, right], 1)
            full = aggregator.stack(both, causal=False)
            turned = aggregator.stack(both.roll(3, 1), causal=False).roll(-3, 1)
            one = aggregator.combine(left, right)
            shuffled = aggregator.combine(left.flip(1), right)
        assert (relative(turned, full) < 1e-12) == blind
        assert (relative(shuffled, one) < 1e-12) == blind


def test_nan_stays_in_its_row():
    for aggregator, shape in SUBJECTS.values():
        left, right = draw(2, 5, *shape).unbind(1)[:2]
        left[0] = torch.nan
        with torch.no_grad():
            merged = aggregator.combine(left, right)
        assert merged[0].isnan().all()
        assert merged[1].isfinite().all()
        assert at(merged[:, None], 0).shape == left.shape


def test_a_window_is_causal():
    stack = Transformer(4, 2, 1, positions="rotary", window=2)
    with refuses(ValueError, "A window of 2 slots is causal", "causal=True"):
        TransformerAggregator(stack)
    states = draw(2, 7, 3, 4)
    assert_duality(stir(TransformerAggregator(stack, causal=True)), states)
