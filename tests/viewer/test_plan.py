"""The plan in the page of the scan is what the library's definition merges, counted as the theory counts."""

import json
from dataclasses import asdict

import pytest
import torch

from scannable.scans import merges, perfect_trees, reference, scan_calls
from scannable.viewer.scan._depth import height, ways
from scannable.viewer.scan._operators import OPERATORS
from scannable.viewer.scan._plan import LONGEST, Recorder, plan

LENGTHS = range(1, LONGEST + 1)


class Written:
    """Write brackets around names, so that the definition says where they stand."""

    def __init__(self):
        self.texts = {leaf: f"{leaf}" for leaf in range(LONGEST)}

    def combine(self, left, right):
        text = f"({self.texts[int(left)]} {self.texts[int(right)]})"
        self.texts[len(self.texts)] = text
        return torch.tensor([len(self.texts) - 1])

    def identity(self, like):
        return torch.full_like(like, -1)


@pytest.fixture(scope="module")
def found():
    return plan()


@pytest.fixture(scope="module")
def brackets(found):
    """What the plan says of every node, bracket by bracket."""
    texts = [f"{leaf}" for leaf in range(found.longest)]
    for left, right in found.nodes:
        texts.append(f"({texts[left]} {texts[right]})")
    return texts


@pytest.fixture(scope="module")
def defined():
    """At ``t`` what the definition says of the prefix of ``t`` leaves."""
    texts = [""]
    for count in LENGTHS:
        written = Written()
        state = reference.prefix_state(written, torch.arange(LONGEST)[None], count)
        texts.append(written.texts[int(state)])
    return texts


def made(push):
    return push.carries + ([] if push.fold is None else [push.fold])


def test_every_prefix_of_every_length_is_that_of_the_definition_bracket_by_bracket(found, brackets, defined):
    for length in LENGTHS:
        assert [brackets[node] for node in found.parallel[length - 1].prefixes] == defined[1 : length + 1]
    assert [brackets[push.prefix] for push in found.pushes] == defined[1:]


def test_both_forms_make_the_same_nodes_once_each(found):
    for length in LENGTHS:
        parallel = [node for call in found.parallel[length - 1].calls for node in call]
        streaming = [node for push in found.pushes[:length] for node in made(push)]
        assert len(set(parallel)) == len(parallel)
        assert sorted(parallel) == sorted(streaming)


def test_operands_are_there_before_they_are_merged(found):
    orders = [one.calls for one in found.parallel]
    orders.append([[node] for push in found.pushes for node in made(push)])
    for calls in orders:
        there = set(range(found.longest))
        for call in calls:
            assert {operand for node in call for operand in found.nodes[node - found.longest]} <= there
            there |= set(call)


def test_counts_are_those_of_the_formulas(found):
    for length, one in enumerate(found.parallel, 1):
        push = found.pushes[length - 1]
        assert sum(map(len, one.calls)) == one.merges == push.merges == merges(length)
        assert len(one.calls) <= scan_calls(length + 1)
        assert sum(root is not None for root in push.roots) == push.kept == length.bit_count()
        assert sum(len(made(push)) for push in found.pushes[:length]) == merges(length)


def chain(found, node):
    """How many merges lie one above another in a node, by walking down all of them."""
    if node < found.longest:
        return 0
    return 1 + max(chain(found, operand) for operand in found.nodes[node - found.longest])


def test_the_depth_of_every_length_is_that_of_its_formula_up_and_down(found):
    for one in found.parallel:
        assert (one.up, len(one.calls) - one.up) == one.depth


def test_the_depth_of_every_prefix_is_the_digits_and_the_ones_less_two(found):
    for count, push in enumerate(found.pushes, 1):
        assert chain(found, push.prefix) == push.depth == len(f"{count:b}") + f"{count:b}".count("1") - 2


def test_the_parallel_form_makes_at_most_one_call_more_than_its_deepest_prefix_has_merges(found):
    for length, one in enumerate(found.parallel, 1):
        deepest = max(push.depth for push in found.pushes[:length])
        assert 0 <= len(one.calls) - deepest <= 1
        assert deepest == sum(ways(length + 1)) - 1


def test_the_formulas_of_depth_see_a_call_and_a_merge_too_many(found):
    for one in found.parallel:
        assert (one.up, len(one.calls) + 1 - one.up) != one.depth
    assert chain(found, found.plain[7]) == 7 != height(8)  # the plain fold of eight is deeper


def test_calls_on_the_way_up_make_trees_and_the_others_folds(found):
    for one in found.parallel:
        for place, call in enumerate(one.calls):
            for node in call:
                start, stop = found.spans[node - found.longest]
                size = stop - start
                is_tree = size.bit_count() == 1 and start % size == 0
                assert is_tree == (place < one.up)


def test_roots_and_folds_are_the_perfect_trees_and_what_they_end(found, brackets, defined):
    for count, push in enumerate(found.pushes, 1):
        spans = [(leaf, leaf + 1) for leaf in range(LONGEST)] + found.spans
        roots = [spans[root] for root in reversed(push.roots) if root is not None]
        assert roots == perfect_trees(count)
        for root, fold in zip(push.roots, push.folds, strict=True):
            assert (root is None) == (fold is None)
            if root is not None:
                assert brackets[fold] == defined[spans[root][1]]


def test_folding_all_roots_again_makes_nothing_new_and_costs_half_n_log_n(found):
    for level in range(6):
        count = 1 << level
        pushes = found.pushes[:count]
        assert sum(len(push.carries) + len(push.refolds) for push in pushes) == count // 2 * level
        there = {node for push in pushes for node in made(push)}
        assert all(set(push.refolds) <= there for push in pushes)
    assert all((push.refolds or [None])[-1] == push.fold for push in found.pushes)


def test_the_plain_fold_is_another_function_from_four_leaves_on(found, brackets):
    assert brackets[found.plain[3]] == "(((0 1) 2) 3)"
    differ = [count for count, node in enumerate(found.plain, 1) if node != found.pushes[count - 1].prefix]
    assert differ == list(range(4, LONGEST + 1))


def test_a_wrong_bracketing_would_be_another_node():
    recorder = Recorder()
    a, b, c = (torch.tensor([leaf]) for leaf in range(3))
    left = recorder.combine(recorder.combine(a, b), c)
    right = recorder.combine(a, recorder.combine(b, c))
    assert int(left) != int(right)


def test_the_plan_is_small_json(found):
    text = json.dumps(asdict(found), separators=(",", ":"))
    assert len(text) < 20_000
    assert json.loads(text)["nodes"][0] == [0, 1]


def test_every_operator_has_a_leaf_for_every_place():
    assert len({operator.key for operator in OPERATORS}) == len(OPERATORS)
    for operator in OPERATORS:
        assert len(operator.leaves) == LONGEST
