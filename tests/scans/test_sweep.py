"""The parallel form and extend, bracket by bracket and count by count."""

import pytest
import torch

from agreement import assert_agreement, at, counters_of
from operators import Counting, Free, Pair, Right, Skew, draw_skew
from scannable import Counter, scan
from scannable.scans import extend_calls, merges, scan_calls

LONG = [*range(301), 625, 1000, 1024]


@pytest.mark.slow
def test_all_forms_agree_from_every_split_at_every_length_up_to_130():
    leaves = torch.randint(0, 100, (1, 130, 2)).double(), torch.randint(0, 100, (1, 130, 1, 3)).double()
    assert_agreement(Pair(), leaves, 130)


def test_no_wrong_bracket_hides_in_the_free_operator():
    assert_agreement(Free(), torch.arange(40)[None], 40)


def test_agreement_holds_for_a_batch_of_states_that_depend_on_each_other():
    assert_agreement(Skew(), draw_skew(3, 33), 33)


@pytest.mark.parametrize("inclusive", [False, True], ids=["exclusive", "inclusive"])
def test_scan_merges_and_calls_are_the_formulas(inclusive):
    for length in LONG:
        counting = Counting(Right())
        scan(counting, torch.zeros(1, length), inclusive=inclusive)
        assert counting.merges == merges(length if inclusive else max(0, length - 1)), length
        bound = extend_calls(0, length) if inclusive else scan_calls(length)
        assert counting.calls <= bound, length


def test_a_batch_merges_row_by_row_in_the_same_calls():
    one, five = Counting(Right()), Counting(Right())
    scan(one, torch.zeros(1, 37))
    scan(five, torch.zeros(5, 37))
    assert five.merges == 5 * one.merges
    assert five.calls == one.calls


def test_push_merges_are_the_formula_at_every_length():
    counting = Counting(Right())
    counter = Counter.empty(counting, torch.zeros(1))
    for length in range(1, 1025):
        counter = counter.push(torch.zeros(1))
        assert counting.merges == merges(length)


def test_extend_merges_and_calls_are_the_formulas_from_every_count_up_to_64():
    counters = counters_of(Right(), torch.zeros(1, 64), 64)
    for count, counter in enumerate(counters):
        for more in [*range(34), 63, 64, 65, 300, 1024]:
            counting = Counting(Right())
            fields = {"roots": counter.roots, "folds": counter.folds, "empty_prefix": counter.empty_prefix}
            Counter(aggregator=counting, count=count, **fields).extend(torch.zeros(1, more))
            assert counting.merges == merges(count + more) - merges(count), (count, more)
            assert counting.calls <= extend_calls(count, more), (count, more)


@pytest.mark.parametrize("length", [5, 37])
def test_layout_of_leaves_does_not_matter(length):
    leaves = torch.randint(0, 100, (length, 2, 3)).double().transpose(0, 1)

    class TwoThree:
        def combine(self, left, right):
            return (2 * left + 3 * right) % 8191

        def identity(self, like):
            return torch.zeros_like(like)

    for inputs in (leaves, leaves[:1].expand(2, -1, -1), torch.cat([leaves, leaves], 2)[..., ::2]):
        expected = scan(TwoThree(), inputs.contiguous(), inclusive=True)
        assert torch.equal(scan(TwoThree(), inputs, inclusive=True), expected)
        counter = Counter.empty(TwoThree(), inputs[:, 0])
        assert torch.equal(counter.extend(inputs)[1].prefix, expected[:, -1])


def test_inputs_are_left_as_they_were():
    leaves = draw_skew(2, 21)
    before = {name: x.clone() for name, x in leaves.items()}
    scan(Skew(), leaves)
    Counter.empty(Skew(), at(leaves, 0)).extend(leaves)
    assert all(torch.equal(leaves[name], before[name]) for name in leaves)
