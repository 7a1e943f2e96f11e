"""Lifted pairs are an aggregator like any other, and an associative one."""

import pytest
import torch

import scannable as sc
from affine.cases import KINDS, assert_close, distance, draw, draw_elementwise, run
from scannable import testing
from scannable.affine import Dense, Diagonal, Elementwise, Identity, Scalar
from scannable.affine._peak import _MaxPlus

KINDS = [kind for kind in KINDS if kind.read == "after"]
ACTIONS = {"none": Identity, "scalar": Scalar, "diagonal": Diagonal}
NAMES = [*map(str, KINDS), "elementwise"]


def lifted(name, batch=2, length=21, gates="moderate"):
    """Return an action with its leaves, and the inputs that they were made of."""
    if name == "elementwise":
        given = draw_elementwise(batch, length, 3, 2, gates=gates)
        return Elementwise(), (given["decay"].exp(), given["write"]), given
    kind = KINDS[NAMES.index(name)]
    given = draw(kind, batch, length, 2, 3, 2, gates=gates)
    action, leaves = sc.affine.lift(given["k"], given["v"], given.get("decay"), given.get("erase"))
    assert type(action) is (Dense if kind.erase else ACTIONS[kind.decay])
    return action, leaves, given


def of_place(leaves, place):
    return torch.utils._pytree.tree_map(lambda x: x[:, place], leaves)


every_action = pytest.mark.parametrize("name", NAMES)


@every_action
@pytest.mark.parametrize("gates", ["moderate", "edges"])
def test_actions_are_associative_up_to_rounding(name, gates):
    action, leaves, _ = lifted(name, gates=gates)
    assert testing.assert_associative(action, leaves)["largest deviation"] < 1e-14


@every_action
def test_the_identity_changes_nothing(name):
    action, leaves, _ = lifted(name)
    report = testing.assert_identity(action, of_place(leaves, 0))
    for side in ("left", "right"):
        assert report[f"as {side} operand, relative distance from neutral"] == 0
    _, empty = action.identity(of_place(leaves, 0))
    assert not empty.any()


@every_action
def test_work_is_linear_and_merges_are_those_of_the_scan(name):
    action, leaves, _ = lifted(name, length=64)
    testing.assert_counts(action, leaves, work=1.3, memory=0.7)


@every_action
def test_the_tree_and_the_stream_are_one_function(name):
    action, leaves, _ = lifted(name)
    report = testing.assert_duality(action, leaves, gradients=True)
    assert report.difference < 1e-14


@every_action
def test_composing_is_acting_twice(name):
    action, leaves, given = lifted(name)
    (first, _), (second, _) = of_place(leaves, 0), of_place(leaves, 1)
    both = action.act(action.compose(second, first), given["state"])
    assert distance(both, action.act(second, action.act(first, given["state"]))) < 1e-14


@every_action
def test_a_merge_is_one_map_after_the_other(name):
    action, leaves, given = lifted(name)
    one, other = of_place(leaves, 0), of_place(leaves, 1)
    element, shift = action.combine(one, other)
    apart = one[1] + action.act(one[0], given["state"])
    apart = other[1] + action.act(other[0], apart)
    assert distance(shift + action.act(element, given["state"]), apart) < 1e-14


@every_action
@pytest.mark.parametrize("gates", ["moderate", "edges"])
def test_scans_and_counters_of_pairs_give_the_states(name, gates):
    action, leaves, given = lifted(name, gates=gates)
    counter = sc.Counter.empty(action, of_place(leaves, 0))
    parallel = sc.scan(action, leaves, inclusive=True)
    for t in range(21):
        counter = counter.push(of_place(leaves, t))
        some = {x: y if x == "state" else y[:, : t + 1] for x, y in given.items()}
        _, expected = run(some, implementation="recurrent")
        for element, shift in (counter.prefix, of_place(parallel, t)):
            assert_close({"": shift + action.act(element, given["state"])}, {"": expected}, 1e-13)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_token_is_lifted_to_the_map_that_it_is(kind):
    given = draw(kind, 2, 1, gates="edges")
    action, leaves = sc.affine.lift(given["k"], given["v"], given.get("decay"), given.get("erase"))
    element, shift = of_place(leaves, 0)
    expected = run(given, implementation="recurrent")[1]
    assert distance(shift + action.act(element, given["state"]), expected) < 1e-14


def test_max_plus_pairs_are_associative_with_an_identity():
    leaves = -torch.rand(2, 21, 3).double(), torch.randn(2, 21, 3).double()
    testing.assert_associative(_MaxPlus(), leaves)
    report = testing.assert_identity(_MaxPlus(), of_place(leaves, 0))
    for side in ("left", "right"):
        assert report[f"as {side} operand, relative distance from neutral"] == 0
