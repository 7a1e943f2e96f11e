"""Mutants of the scans themselves: the oracle of the scan tests kills every one."""

import ast
import inspect
import itertools
import types

import pytest
import torch

from agreement import assert_agreement, assert_equal, at
from operators import Free
from scannable import Counter, scan
from scannable.scans import _counter, _packed, _scan, _sweep, reference

LENGTH = 13


def merges_in(module):
    """Number the calls of ``merge`` or ``combine`` in a module's source."""
    tree = ast.parse(inspect.getsource(module))
    names = ("merge", "combine")
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and len(node.args) == 2
        and getattr(node.func, "attr", getattr(node.func, "id", None)) in names
    ], tree


def with_operands_swapped(module, index):
    """Run the module's source again with the operands of one merge swapped."""
    calls, tree = merges_in(module)
    calls[index].args.reverse()
    mutant = types.ModuleType(module.__name__)
    vars(mutant).update({k: v for k, v in vars(module).items() if k.startswith("__")})
    exec(compile(tree, module.__file__, "exec"), vars(mutant))
    return mutant


def cases():
    for module in (_sweep, _counter, _packed, reference):
        name = module.__name__.rpartition(".")[2]
        for index in range(len(merges_in(module)[0])):
            yield pytest.param(module, index, id=f"{name}-{index}")


def check_everything():
    assert_agreement(Free(), torch.arange(LENGTH)[None], LENGTH)
    free = Free()
    leaves, offsets = torch.arange(20)[None], [0, 7, 7, 20]
    packed = scan(free, leaves, offsets=offsets)
    for start, stop in itertools.pairwise(offsets):
        assert_equal(at(packed, slice(start, stop)), scan(free, at(leaves, slice(start, stop))))


def test_the_oracle_passes_without_a_mutant():
    check_everything()
    assert sum(1 for _ in cases()) >= 8


@pytest.mark.parametrize(("module", "index"), list(cases()))
def test_swapped_operands_are_caught(monkeypatch, module, index):
    mutant = with_operands_swapped(module, index)
    if module is _sweep:
        monkeypatch.setattr(_scan, "sweep", mutant.sweep)
        monkeypatch.setattr(_counter, "sweep", mutant.sweep)
    elif module is _counter:
        monkeypatch.setattr(Counter, "push", mutant.Counter.push)
        monkeypatch.setattr(Counter, "extend", mutant.Counter.extend)
    elif module is _packed:
        monkeypatch.setattr(_scan, "packed_scan", mutant.packed_scan)
    else:
        monkeypatch.setattr(reference, "tree_root", mutant.tree_root)
        monkeypatch.setattr(reference, "prefix_state", mutant.prefix_state)
    with pytest.raises(AssertionError):
        check_everything()


def fold_from_the_right(aggregator, leaves, count):
    if count == 0:
        return aggregator.identity(leaves[:, 0])
    trees = [
        reference.tree_root(aggregator, [leaves[:, t] for t in range(start, stop)])
        for start, stop in reference.perfect_trees(count)
    ]
    state = trees.pop()
    while trees:
        state = aggregator.combine(trees.pop(), state)
    return state


def fold_leaf_by_leaf(aggregator, leaves, count):
    state = aggregator.identity(leaves[:, 0])
    for t in range(count):
        state = aggregator.combine(state, leaves[:, t]) if t else leaves[:, 0]
    return state


def fold_onto_the_identity(aggregator, leaves, count):
    state = aggregator.identity(leaves[:, 0])
    for start, stop in reference.perfect_trees(count):
        root = reference.tree_root(aggregator, [leaves[:, t] for t in range(start, stop)])
        state = aggregator.combine(state, root)
    return state


@pytest.mark.parametrize("wrong", [fold_from_the_right, fold_leaf_by_leaf, fold_onto_the_identity])
def test_other_brackets_are_caught(monkeypatch, wrong):
    monkeypatch.setattr(reference, "prefix_state", wrong)
    with pytest.raises(AssertionError):
        check_everything()


def test_a_newest_first_fold_of_the_roots_is_caught(monkeypatch):
    def newest_first(self):
        roots = [root for root in self.roots if root is not None]
        state = roots[0] if roots else self.empty_prefix
        for root in roots[1:]:
            state = self.aggregator.combine(state, root)
        return state

    monkeypatch.setattr(Counter, "prefix", property(newest_first))
    with pytest.raises(AssertionError):
        check_everything()


def test_places_shifted_by_one_are_caught(monkeypatch):
    sweep = _sweep.sweep

    def shifted(*args, **kwargs):
        prefixes, nodes = sweep(*args, **kwargs)
        return [x.roll(1, 1) for x in prefixes], nodes

    monkeypatch.setattr(_scan, "sweep", shifted)
    with pytest.raises(AssertionError):
        check_everything()
