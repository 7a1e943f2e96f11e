"""Attention of the last slots to all of them, against a softmax that is written slot by slot."""

import math

import pytest
import torch

from scannable.modules._attend import attend
from scannable.testing._subject import relative

EXACT = 1e-12
LENGTHS = (1, 2, 5, 8, 11)


def plain(q, k, v, *, causal, window=None):
    """Softmax attention as it is defined: one query, and the keys that it sees."""
    before, read = k.shape[1] - q.shape[1], []
    for i in range(q.shape[1]):
        last = before + i + 1 if causal else k.shape[1]
        first = 0 if window is None else max(0, last - window)
        scores = torch.einsum("rhk,rmhk->rmh", q[:, i], k[:, first:last]) / math.sqrt(q.shape[-1])
        weights = scores.exp() / scores.exp().sum(1, keepdim=True)
        read.append(torch.einsum("rmh,rmhk->rhk", weights, v[:, first:last]))
    return torch.stack(read, 1)


def draw(queries, keys, rows=2, heads=2, size=3):
    shapes = [(rows, n, heads, size) for n in (queries, keys, keys)]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def pairs():
    """Numbers of queries and of keys: all of them, one, half, and with much or little before them."""
    return [(n, m) for m in LENGTHS for n in sorted({1, 2, m // 2, m - 1, m}) if 1 <= n <= m]


def assert_plain(slots, **options):
    """The same outputs and the same gradients."""
    expected, got = plain(*slots, **options), attend(*slots, **options)
    assert relative(got, expected) <= EXACT, options
    cotangent = torch.randn_like(expected)
    of_plain, of_ours = (torch.autograd.grad(read, slots, cotangent) for read in (expected, got))
    together = [torch.cat([x.flatten() for x in found]) for found in (of_ours, of_plain)]
    assert relative(*together) <= EXACT, options


@pytest.mark.parametrize("causal", [False, True])
def test_the_last_slots_read_what_a_plain_softmax_reads(causal):
    for queries, keys in pairs():
        assert_plain(draw(queries, keys), causal=causal)


@pytest.mark.parametrize("window", [1, 2, 3, 4, 8, 10, 11, 20])
def test_a_window_reads_what_a_plain_softmax_over_its_slots_reads(window):
    for queries, keys in pairs():
        assert_plain(draw(queries, keys), causal=True, window=window)


def test_a_window_that_holds_all_slots_is_none():
    for queries, keys in pairs():
        slots = draw(queries, keys)
        assert torch.equal(attend(*slots, causal=True, window=keys), attend(*slots, causal=True))


@pytest.mark.parametrize(
    ("queries", "keys", "options"),
    [
        (3, 3, {"causal": False}),
        (3, 3, {"causal": True}),
        (3, 4, {"causal": True}),
        (2, 6, {"causal": True}),
        (5, 5, {"causal": True, "window": 2}),
        (3, 5, {"causal": True, "window": 2}),
        (1, 5, {"causal": True, "window": 3}),
    ],
    ids=str,
)
def test_gradients_are_those_of_finite_differences(queries, keys, options):
    slots = draw(queries, keys, rows=1, heads=1, size=2)
    assert torch.autograd.gradcheck(lambda *x: attend(*x, **options), slots)


def test_what_lies_outside_the_window_changes_no_bit():
    for queries, keys, window in ((11, 11, 3), (4, 11, 3), (1, 11, 3), (9, 11, 4)):
        q, k, v = draw(queries, keys)
        with torch.no_grad():
            before = attend(q, k, v, causal=True, window=window)
            for slot in range(keys):
                moved_k, moved_v = k.clone(), v.clone()
                moved_k[:, slot] += 1
                moved_v[:, slot] += 1
                after = attend(q, moved_k, moved_v, causal=True, window=window)
                changed = [not torch.equal(after[:, i], before[:, i]) for i in range(queries)]
                seen = [0 <= keys - queries + i - slot < window for i in range(queries)]
                assert changed == seen, (queries, keys, window, slot)


@pytest.mark.parametrize("window", [None, 2])
def test_no_query_reads_nothing(window):
    q, k, v = draw(0, 5)
    assert attend(q, k, v, causal=True, window=window).shape == (2, 0, 2, 3)


@pytest.mark.parametrize("window", [None, 4])
def test_dropped_weights_are_made_up_for_by_the_others(window):
    """The mean over many draws is what is read without dropout."""
    q, k, v = draw(6, 9, rows=1)
    with torch.no_grad():
        expected = attend(q, k, v, causal=True, window=window)
        many = [x.expand(20_000, -1, -1, -1) for x in (q, k, v)]
        dropped = attend(*many, causal=True, window=window, dropout=0.3)
    assert not torch.equal(dropped[0], dropped[1])
    assert relative(dropped.mean(0, keepdim=True), expected) < 0.05
