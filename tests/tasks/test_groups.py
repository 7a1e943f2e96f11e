import itertools
import math

import pytest
import torch

from scannable.tasks import PermutationGroup, group

ORDERS = {
    "S2": 2,
    "S3": 6,
    "S4": 24,
    "S5": 120,
    "A3": 3,
    "A4": 12,
    "A5": 60,
    "C2": 2,
    "C6": 6,
    "C60": 60,
    "D3": 6,
    "D4": 8,
    "D5": 10,
    "parity": 2,
}


def compose(left, right):
    """The definition: the new state at ``j`` is the old state at ``action[j]``."""
    new = [0] * len(left)
    for j in range(len(left)):
        new[j] = left[right[j]]
    return tuple(new)


@pytest.mark.parametrize("name", ORDERS)
def test_a_group_has_its_order_and_its_table_composes_permutations(name):
    found = group(name)
    assert found.order == len(set(found.elements)) == ORDERS[name]
    assert found.table.shape == (found.order, found.order)
    assert found.table.dtype == torch.int64
    for i, j in itertools.product(range(found.order), repeat=2):
        assert found.elements[found.table[i, j]] == compose(found.elements[i], found.elements[j])


@pytest.mark.parametrize("name", ["S3", "S4", "A4", "A5", "C7", "D6"])
def test_a_table_is_a_group(name):
    table = group(name).table
    order = torch.arange(len(table))
    assert torch.equal(table[0], order)
    assert torch.equal(table[:, 0], order)
    assert torch.equal(table.sort(0).values, order[:, None].expand_as(table))
    assert torch.equal(table.sort(1).values, order.expand_as(table))
    assert torch.equal(table[table], table[:, table])  # (i j) k = i (j k)


def test_elements_are_numbered_in_the_order_of_their_tuples():
    assert group("S5").elements == tuple(itertools.permutations(range(5)))
    assert group("A4").elements == tuple(p for p in itertools.permutations(range(4)) if parity(p) == 0)
    assert [element[0] for element in group("C7").elements] == list(range(7))
    assert all(group(name).elements[0] == tuple(range(len(group(name).elements[0]))) for name in ORDERS)


def test_the_order_of_generators_does_not_change_the_numbers():
    generators = [(1, 0, 2, 3), (1, 2, 3, 0), (0, 1, 3, 2)]
    tables = [
        PermutationGroup.generated_by("some", order).table for order in itertools.permutations(generators)
    ]
    assert all(torch.equal(table, tables[0]) for table in tables)
    assert torch.equal(tables[0], group("S4").table)


def test_names_are_cycles():
    assert group("S3").names == ("()", "(1 2)", "(0 1)", "(0 1 2)", "(0 2 1)", "(0 2)")
    assert "(0 1)(2 3)" in group("A4").names
    for name in ("S4", "A5", "D6"):
        assert len(set(group(name).names)) == group(name).order


def test_parity_is_addition_modulo_two():
    assert group("parity").table.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("name", ["S5", "A5", "D12"])
def test_generators_are_elements_that_generate_the_group(name):
    found = group(name)
    again = PermutationGroup.generated_by(name, [found.elements[i] for i in found.generators])
    assert again.elements == found.elements
    assert 0 not in found.generators


@pytest.mark.parametrize(
    "name", ["", "S", "S1", "S0", "A2", "C1", "D2", "Q8", "s5", "S5 ", "S-5", "C99999", "x\nS5"]
)
def test_an_unknown_group_is_refused_with_the_choices(name):
    with pytest.raises(ValueError, match=r"group must be one of .*S5, A4, A5, or parity, got .*; choose"):
        group(name)


@pytest.mark.parametrize("name", ["S7", "A8", "C2049", "D1025", "C9999"])
def test_a_group_too_large_to_tabulate_is_refused(name):
    with pytest.raises(ValueError, match=rf"at most 2,048 elements.*got more in '{name}'; choose a smaller"):
        group(name)


@pytest.mark.parametrize("generators", [[], [()], [(1, 2, 0), (1, 0)], [(0, 0)], [(1, 2)]])
def test_generators_that_are_no_permutations_are_refused(generators):
    with pytest.raises(ValueError, match=r"permutations of the points 0 to n - 1.*got \[.*\]; write each"):
        PermutationGroup.generated_by("some", generators)


def test_any_group_may_be_given_by_generators():
    dihedral = PermutationGroup.generated_by("square", [(1, 2, 3, 0), (0, 3, 2, 1)])
    assert torch.equal(dihedral.table, group("D4").table)
    assert math.factorial(4) % dihedral.order == 0


def parity(permutation):
    return sum(a > b for a, b in itertools.combinations(permutation, 2)) % 2
