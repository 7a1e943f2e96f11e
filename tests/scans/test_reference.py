import pytest
import torch

from agreement import assert_equal, at
from operators import Counting, Free, Right, Skew, Sum, draw_skew
from scannable.scans import reference


def test_prefix_of_six_is_its_two_trees_folded():
    free = Free()
    a, b, c, d, e, f = leaves = [torch.tensor([t]) for t in range(6)]
    older = free.combine(free.combine(a, b), free.combine(c, d))
    expected = free.combine(older, free.combine(e, f))
    assert torch.equal(reference.prefix_state(free, torch.stack(leaves, 1), 6), expected)


def test_prefix_of_seven_folds_from_left_to_right():
    leaves = draw_skew(2, 7)
    skew = Skew()
    a, b, c, d, e, f, g = (at(leaves, t) for t in range(7))
    four = skew.combine(skew.combine(a, b), skew.combine(c, d))
    expected = skew.combine(skew.combine(four, skew.combine(e, f)), g)
    assert_equal(reference.prefix_state(skew, leaves, 7), expected)


def test_empty_prefix_is_the_identity_and_merges_nothing():
    counting = Counting(Skew())
    leaves = draw_skew(2, 3)
    assert_equal(reference.prefix_state(counting, leaves, 0), Skew().identity(at(leaves, 0)))
    assert counting.merges == 0


def test_prefix_of_one_is_the_leaf():
    counting = Counting(Right())
    assert_equal(reference.prefix_state(counting, torch.arange(3)[None], 1), torch.tensor([0]))
    assert counting.merges == 0


def test_associative_operator_gives_the_plain_left_fold():
    leaves = torch.randint(0, 100, (2, 40, 3)).double()
    for count in range(1, 41):
        assert torch.equal(reference.prefix_state(Sum(), leaves, count), leaves[:, :count].sum(1))


@pytest.mark.parametrize("count", [-1, 4])
def test_a_prefix_that_is_not_there_is_refused(count):
    with pytest.raises(ValueError, match=f"A prefix of 3 leaves must hold 0 to 3 of them, got {count}"):
        reference.prefix_state(Sum(), torch.zeros(1, 3), count)
