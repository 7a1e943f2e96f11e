"""Scans that recompute in blocks: the same values and gradients, the same merges, less memory."""

import pytest
import torch
from torch.utils import _pytree

from agreement import assert_equal, refused
from operators import Counting, Learned, Right, Skew, draw_skew
from scannable import scan
from scannable.scans import extend_calls, merges

SHAPES = [(1, 1), (1, 4), (2, 1), (5, 2), (8, 4), (13, 3), (13, 13), (13, 40), (33, 8)]


def gradients_of(outputs, sources, cotangent):
    return torch.autograd.grad(
        outputs, sources, cotangent, allow_unused=True, materialize_grads=True, retain_graph=True
    )


def assert_close(found, expected):
    for x, y in zip(found, expected, strict=True):
        assert (x - y).norm() <= 1e-12 * y.norm()


def bytes_held_while_differentiated(run):
    """The peak of what autograd keeps at once, saved or recomputed; each tensor counts once."""
    held = {}
    peak = 0

    class Held:
        def __init__(self, x):
            nonlocal peak
            self.x = x
            storage = x.untyped_storage()
            self.key = storage.data_ptr()
            users, size = held.get(self.key, (0, storage.nbytes()))
            held[self.key] = users + 1, size
            peak = max(peak, sum(size for _, size in held.values()))

        def __del__(self):
            users, size = held.pop(self.key)
            if users > 1:
                held[self.key] = users - 1, size

    with torch.autograd.graph.saved_tensors_hooks(Held, lambda kept: kept.x):
        run()
    return peak


@pytest.mark.parametrize("inclusive", [False, True], ids=["exclusive", "inclusive"])
@pytest.mark.parametrize(("length", "block"), SHAPES)
def test_blocks_change_no_bit_and_no_merge(length, block, inclusive):
    leaves = draw_skew(2, length)
    counting = Counting(Skew())
    assert_equal(
        scan(counting, leaves, inclusive=inclusive, recompute=block),
        scan(Skew(), leaves, inclusive=inclusive),
    )
    read = length if inclusive else length - 1
    assert counting.merges == 2 * merges(read)
    starts = range(0, read, block)
    assert counting.calls <= sum(extend_calls(start, min(block, read - start)) for start in starts)


@pytest.mark.parametrize("inclusive", [False, True], ids=["exclusive", "inclusive"])
@pytest.mark.parametrize(("length", "block"), SHAPES)
def test_gradients_are_those_of_the_plain_form(length, block, inclusive):
    aggregator = Learned(4).double()
    leaves = torch.randn(2, length, 4, dtype=torch.float64, requires_grad=True)
    sources = [leaves, *aggregator.parameters()]
    cotangent = torch.randn(2, length, 4, dtype=torch.float64)
    plain = scan(aggregator, leaves, inclusive=inclusive)
    blocks = scan(aggregator, leaves, inclusive=inclusive, recompute=block)
    assert_close([blocks], [plain])
    expected = gradients_of(plain, sources, cotangent)
    assert_close(gradients_of(blocks, sources, cotangent), expected)
    assert_close(gradients_of(blocks, sources, cotangent), expected)
    assert_close(gradients_of(blocks, sources[1:], cotangent), expected[1:])
    for some in (slice(0, 1), slice(length // 2, length // 2 + 1)):
        expected = gradients_of(plain[:, some], sources, cotangent[:, some])
        assert_close(gradients_of(blocks[:, some], sources, cotangent[:, some]), expected)


def test_backward_fills_grad_of_leaves_of_the_graph_and_passes_on_through_others():
    aggregator = Learned(4).double()
    inputs = torch.randn(2, 11, 4, dtype=torch.float64, requires_grad=True)
    found = []
    for recompute in (False, 4):
        inputs.grad = None
        aggregator.zero_grad()
        scan(aggregator, 3 * inputs, inclusive=True, recompute=recompute).square().sum().backward()
        found.append([inputs.grad, aggregator.mix.grad, aggregator.gate.grad])
    assert_close(found[1], found[0])


def test_an_operator_may_ignore_an_operand():
    leaves = torch.randn(1, 9, 2, dtype=torch.float64, requires_grad=True)
    states = scan(Right(), leaves, inclusive=True, recompute=2)
    assert torch.equal(states, leaves)
    cotangent = torch.randn_like(states)
    (gradient,) = torch.autograd.grad(states, leaves, cotangent)
    assert torch.equal(gradient, cotangent)


class Weighted:
    """A state with a float tensor, one that may need no gradient, and a count."""

    def combine(self, left, right):
        return {
            "x": left["x"] * right["w"] + right["x"],
            "w": left["w"] * right["w"],
            "n": left["n"] + right["n"],
        }

    def identity(self, like):
        return _pytree.tree_map(torch.zeros_like, like)


@pytest.mark.parametrize("needs", [("x",), ("w",), ("x", "w")], ids=str)
def test_only_what_needs_a_gradient_gets_one(needs):
    leaves = {name: torch.rand(2, 11, 3, dtype=torch.float64) for name in "xw"}
    leaves["n"] = torch.ones(2, 11, dtype=torch.int64)
    sources = [leaves[name].requires_grad_() for name in needs]
    plain = scan(Weighted(), leaves, inclusive=True)
    blocks = scan(Weighted(), leaves, inclusive=True, recompute=4)
    assert_equal(blocks, plain)
    assert blocks["w"].requires_grad == ("w" in needs)
    cotangent = torch.rand_like(plain["x"])
    expected = gradients_of(plain["x"], sources, cotangent)
    assert_close(gradients_of(blocks["x"], sources, cotangent), expected)


def test_one_block_is_kept_and_not_the_sequence():
    aggregator = Learned(8)
    leaves = torch.randn(2, 256, 8, requires_grad=True)

    def run(recompute):
        scan(aggregator, leaves, inclusive=True, recompute=recompute).sum().backward()

    kept = {
        recompute: bytes_held_while_differentiated(lambda r=recompute: run(r)) for recompute in (False, 16)
    }
    assert kept[16] < kept[False] / 4


def test_without_gradients_combine_runs_once():
    counting = Counting(Skew())
    with torch.no_grad():
        scan(counting, draw_skew(1, 9), recompute=4, inclusive=True)
    assert counting.merges == merges(9)


def test_gradients_of_second_order_are_refused():
    leaves = torch.randn(1, 9, 4, requires_grad=True)
    states = scan(Learned(4), leaves, recompute=4)
    with pytest.raises(
        NotImplementedError, match=r"first order only, got create_graph=True; take recompute="
    ):
        torch.autograd.grad(states.square().sum(), leaves, create_graph=True)


@pytest.mark.compile
def test_blocks_compile_in_one_graph():
    aggregator = Learned(4).double()
    leaves = torch.randn(2, 11, 4, dtype=torch.float64, requires_grad=True)
    compiled = torch.compile(lambda x: scan(aggregator, x, recompute=4), fullgraph=True, backend="aot_eager")
    sources = [leaves, *aggregator.parameters()]
    found, expected = compiled(leaves), scan(aggregator, leaves)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    cotangent = torch.randn_like(found)
    for x, y in zip(
        torch.autograd.grad(found, sources, cotangent),
        torch.autograd.grad(expected, sources, cotangent),
        strict=True,
    ):
        assert (x - y).norm() <= 1e-12 * y.norm()


@pytest.mark.parametrize("recompute", [0, -3, 2.5, "4"])
def test_blocks_of_no_whole_number_of_leaves_are_refused(recompute):
    rule = (
        r"True, False, or the leaves of a block, a whole number of at least 1, got .*; True recomputes level"
    )
    with refused(ValueError, rule):
        scan(Skew(), draw_skew(1, 4), recompute=recompute)


def test_packed_sequences_in_blocks_are_refused():
    with pytest.raises(
        ValueError, match=r"cannot go in blocks, got recompute=4 with offsets; take recompute="
    ):
        scan(Skew(), draw_skew(1, 4), recompute=4, offsets=[0, 4])
