"""The streaming form: a value whose roots are the bits of its count."""

import copy

import pytest
import torch

from agreement import assert_equal, assert_same_counter, at, counters_of, refused
from operators import Counting, Right, Skew, Sum, draw_skew
from scannable import Counter, scan


class Changing:
    """Hand out merged states of a wrong form."""

    def __init__(self, change):
        self.change = change

    def combine(self, left, right):
        return self.change(left)

    def identity(self, like):
        return torch.zeros_like(like)


def test_roots_and_folds_are_there_exactly_where_the_bit_is_set():
    for count, counter in enumerate(counters_of(Right(), torch.zeros(1, 300), 300)):
        bits = [bool(count >> level & 1) for level in range(count.bit_length())]
        assert [root is not None for root in counter.roots] == bits
        assert [fold is not None for fold in counter.folds] == bits
        assert sum(bits) == count.bit_count()
        assert len(counter.roots) <= count.bit_length()


def test_a_counter_is_a_value():
    leaves, others = draw_skew(2, 23), draw_skew(2, 23, seed=1)
    counters = counters_of(Skew(), leaves, 11)
    kept = counters[11]
    before = copy.deepcopy(kept)
    kept.push(at(others, 0)).push(at(others, 1))
    kept.extend(others)
    assert_same_counter(kept, before)
    again = counters_of(Skew(), leaves, 23)[23]
    assert_same_counter(kept.extend(at(leaves, slice(11, 23)))[1], again)


def test_extended_states_do_not_keep_the_sequence_alive():
    leaves = torch.zeros(1, 1000)
    _, counter = Counter.empty(Sum(), leaves[:, 0]).extend(leaves)
    kept = [x for x in (*counter.roots, *counter.folds) if x is not None]
    assert all(x.untyped_storage().nbytes() == x.nbytes for x in kept)


def test_extend_by_nothing_merges_nothing():
    counting = Counting(Skew())
    counter = counters_of(counting, draw_skew(2, 5), 5)[5]
    merged = counting.merges
    prefixes, after = counter.extend(at(draw_skew(2, 5), slice(0, 0)))
    assert prefixes["a"].shape == (2, 0, 3)
    assert_same_counter(after, counter)
    assert counting.merges == merged


def test_an_empty_counter_has_the_identity_as_prefix():
    like = at(draw_skew(2, 1), 0)
    counter = Counter.empty(Skew(), like)
    assert counter.count == 0
    assert_equal(counter.prefix, Skew().identity(like))


def test_a_leaf_of_another_form_is_refused():
    counter = Counter.empty(Sum(), torch.zeros(2, 3))
    cure = "give the counter leaves of one form"
    for leaf, got in (
        (torch.zeros(2, 4), r"float32 \(2, 4\) on cpu"),
        (torch.zeros(1, 3), r"float32 \(1, 3\) on cpu"),
        (torch.zeros(2, 3).double(), r"float64 \(2, 3\) on cpu"),
        (torch.zeros(2, 3, device="meta"), r"float32 \(2, 3\) on meta"),
    ):
        with pytest.raises(
            ValueError, match=rf"A leaf must be .*float32 \(2, 3\) on cpu.*got.*{got}.*{cure}"
        ):
            counter.push(leaf)
    with pytest.raises(ValueError, match=rf"A leaf must have the structure .*got .*; {cure}"):
        counter.push({"a": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match=rf"Leaves must be .*\(2, 5, 3\).*got .*\(2, 5, 4\).*; {cure}"):
        counter.extend(torch.zeros(2, 5, 4))
    with pytest.raises(ValueError, match=r"Leaves must have shape \(B, N, \.\.\.\).*got .*batch first"):
        counter.extend(torch.zeros(2))


def test_a_state_without_a_batch_is_refused():
    for state in (torch.tensor(1.0), (torch.zeros(2, 3), torch.zeros(3, 3))):
        with pytest.raises(
            ValueError, match=r"A state must have shape \(B, \.\.\.\) .*got .*; put batch first"
        ):
            Counter.empty(Sum(), state)
    with pytest.raises(ValueError, match=r"at least one sequence, got shape \(0, 1, 3\); skip empty batches"):
        Counter.empty(Sum(), torch.zeros(0, 3))
    with pytest.raises(TypeError, match=r"pytree of tensors, got one that holds \['int'\]; keep settings"):
        Counter.empty(Sum(), 3)


@pytest.mark.parametrize(
    "change",
    [torch.Tensor.double, lambda x: x[:, :1], lambda x: x[:1], lambda x: x.to("meta")],
    ids=["dtype", "shape", "rows", "device"],
)
def test_an_aggregator_that_changes_the_form_is_refused_by_push(change):
    counter = Counter.empty(Changing(change), torch.zeros(2, 3)).push(torch.zeros(2, 3))
    with pytest.raises(
        ValueError, match=r"A merged state must be .* got .*; combine must return a state like"
    ):
        counter.push(torch.zeros(2, 3))


def test_memory_format_and_gradients_pass_through_push():
    leaves = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    counters = counters_of(Sum(), leaves, 7)
    counters[-1].prefix.sum().backward()
    assert torch.equal(leaves.grad, torch.ones_like(leaves))
    assert torch.equal(scan(Sum(), leaves, inclusive=True)[:, -1], counters[-1].prefix)


class Last:
    def combine(self, left, right):
        return right

    def identity(self, like):
        return torch.zeros_like(like)


@pytest.mark.parametrize("aggregator", [Sum, Last])
def test_a_pushed_leaf_does_not_keep_its_sequence_alive(aggregator):
    leaves = torch.randn(1, 1000, 4)
    counter = Counter.empty(aggregator(), leaves[:, 0])
    for t in range(6):
        counter = counter.push(leaves[:, t])
        kept = [x for x in (*counter.roots, *counter.folds) if x is not None]
        assert max(x.untyped_storage().nbytes() for x in kept) == 16


def test_a_leaf_that_is_written_to_later_changes_no_counter():
    buffer = torch.zeros(1, 2)
    counter = Counter.empty(Last(), buffer)
    for value in (1, 2):
        counter = counter.push(buffer.fill_(value))
    buffer.fill_(99)
    assert torch.equal(counter.prefix, torch.full((1, 2), 2.0))


def test_what_cannot_merge_is_refused():
    leaf = torch.zeros(1, 3)
    with pytest.raises(TypeError, match=r"must be an object, got the class Sum; call it first"):
        Counter.empty(Sum, leaf)
    with refused(TypeError, r"combine\(left, right\) and identity\(like\), got int; add"):
        scan(3, leaf[:, None])
