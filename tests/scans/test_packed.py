"""Packed sequences: each as if it were alone."""

import itertools

import jaxtyping
import pytest
import torch

from agreement import assert_equal, at
from operators import Counting, Free, Learned, Right, Skew, Sum, draw_skew
from scannable import scan
from scannable.scans import merges, scan_calls

LENGTHS = [[0, 3, 3, 10], [0, 1, 2, 3], [0, 0, 17], [0, 5], [0, 8, 24, 31, 31, 64], [0, 0, 0]]


@pytest.mark.parametrize("inclusive", [False, True], ids=["exclusive", "inclusive"])
@pytest.mark.parametrize("offsets", LENGTHS, ids=str)
def test_no_state_crosses_a_boundary(offsets, inclusive):
    leaves = draw_skew(1, offsets[-1])
    spans = list(itertools.pairwise(offsets))
    for implementation in ("parallel", "counter", "reference"):
        packed = scan(Skew(), leaves, inclusive=inclusive, offsets=offsets, implementation=implementation)
        assert packed["a"].shape == leaves["a"].shape
        for start, stop in spans:
            alone = scan(Skew(), at(leaves, slice(start, stop)), inclusive=inclusive)
            assert_equal(at(packed, slice(start, stop)), alone)


def test_brackets_are_those_of_each_sequence():
    free = Free()
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        lengths = torch.randint(0, 20, (5,), generator=generator)
        offsets = [0, *lengths.cumsum(0).tolist()]
        leaves = torch.arange(offsets[-1])[None]
        if offsets[-1]:
            expected = scan(free, leaves, offsets=offsets, implementation="reference")
            assert torch.equal(scan(free, leaves, offsets=torch.tensor(offsets)), expected)


def test_sequences_share_calls_and_merge_as_often_as_alone():
    offsets = [0, 8, 24, 31, 64]
    counting = Counting(Right())
    scan(counting, torch.zeros(1, 64), offsets=offsets)
    assert counting.merges == sum(merges(n - 1) for n in (8, 16, 7, 33))
    assert counting.calls <= scan_calls(33)


def test_gradients_do_not_cross_a_boundary():
    leaves = torch.randn(1, 12, 4, dtype=torch.float64, requires_grad=True)
    out = scan(Learned(4).double(), leaves, offsets=[0, 5, 12])
    (gradient,) = torch.autograd.grad(out[:, 5:].sum(), leaves, retain_graph=True)
    assert torch.equal(gradient[:, :5], torch.zeros_like(gradient[:, :5]))
    assert (gradient[:, 5:11] != 0).all()
    rows = [scan(Learned(4).double(), part) for part in leaves.split([5, 7], 1)]
    cotangent = torch.randn_like(out)
    (packed,) = torch.autograd.grad(out, leaves, cotangent)
    (alone,) = torch.autograd.grad(torch.cat(rows, 1), leaves, cotangent)
    torch.testing.assert_close(packed, alone, rtol=1e-12, atol=1e-14)


def test_offsets_may_be_a_range():
    leaves = torch.arange(6.0)[None]
    assert torch.equal(scan(Sum(), leaves, offsets=range(0, 7, 3)), scan(Sum(), leaves, offsets=[0, 3, 6]))


@pytest.mark.parametrize("offsets", [[], [0], [1, 4], [0, 3], [0, 3, 2, 4], [0, 5], [0, -1, 4]], ids=str)
def test_bad_offsets_are_refused(offsets):
    rule = r"offsets must rise from 0 to the number of leaves, 4, got \[.*\]; sequence i holds"
    with pytest.raises(ValueError, match=rule):
        scan(Right(), torch.zeros(1, 4), offsets=offsets)


def test_a_batch_of_packed_rows_is_refused():
    with pytest.raises(ValueError, match=r"\(1, sum of N, \.\.\.\), got a batch of 2; join the rows"):
        scan(Right(), torch.zeros(2, 4), offsets=[0, 4])


@pytest.mark.parametrize("offsets", [[0.0, 3.0], [0, 1.5, 3], torch.tensor(3), "03"])
def test_offsets_of_another_kind_are_refused(offsets):
    with pytest.raises((TypeError, jaxtyping.TypeCheckError)) as caught:
        scan(Sum(), torch.zeros(1, 3, 2), offsets=offsets)
    assert isinstance(caught.value, jaxtyping.TypeCheckError) or "convert them to int" in str(caught.value)
