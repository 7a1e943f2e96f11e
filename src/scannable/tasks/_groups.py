"""Finite permutation groups: closed under composition, numbered, and tabulated.

A permutation of ``n`` points is the tuple of its values, ``p[j]`` at ``j``. Products compose from the right,
``(p * q)[j] = p[q[j]]``, as in the authors' S5 data, where the new state is ``state[action[j]]`` at ``j``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

Permutation = tuple[int, ...]

_LIMIT = 2048
_CHOICES = "S<n> (n >= 2), A<n> (n >= 3), C<n> (n >= 2), D<n> (n >= 3), as in S3, S4, S5, A4, A5, or parity"


@dataclass(frozen=True, kw_only=True, eq=False)
class PermutationGroup:
    """A group of permutations, its elements numbered in the order of their tuples.

    The identity is the least tuple, so it is always element 0; in ``C<n>`` element ``k`` turns by ``k``.

    Attributes:
        name: What the group is called.
        elements: The permutations, in ascending order.
        generators: The numbers of the elements that the group was built from.
        table: At ``[i, j]`` the number of ``elements[i] * elements[j]``.
    """

    name: str
    elements: tuple[Permutation, ...]
    generators: tuple[int, ...]
    table: Int64[Tensor, "V V"]

    @classmethod
    def generated_by(cls, name: str, generators: Sequence[Sequence[int]]) -> "PermutationGroup":
        """Close permutations under composition.

        Raises:
            ValueError: If there is no generator, if one is not a permutation of the same points as the
                others, or if the group has more than 2,048 elements.
        """
        steps = [tuple(generator) for generator in generators]
        degree = len(steps[0]) if steps else 0
        if not degree or any(sorted(step) != list(range(degree)) for step in steps):
            raise ValueError(
                f"A group needs generators that are permutations of the points 0 to n - 1, all of one n, "
                f"got {steps!r}; write each as the tuple of its values."
            )
        found, parents = _close(name, tuple(range(degree)), steps)
        elements = tuple(sorted(found))
        number = {element: i for i, element in enumerate(elements)}
        after = torch.tensor([[number[_compose(p, step)] for p in elements] for step in steps])
        table = torch.empty(len(elements), len(elements), dtype=torch.int64)
        for element, (parent, step) in zip(found, parents, strict=True):
            # i * (parent * step) = (i * parent) * step, and the column of `parent` is there already.
            before = table[:, number[found[parent]]] if step >= 0 else torch.arange(len(elements))
            table[:, number[element]] = after[step][before] if step >= 0 else before
        numbers = tuple(number[step] for step in steps)
        return cls(name=name, elements=elements, generators=numbers, table=table)

    @property
    def order(self) -> int:
        """How many elements the group has."""
        return len(self.elements)

    @property
    def names(self) -> tuple[str, ...]:
        """The elements in cycle notation on the points from 0; the identity is ``()``."""
        return tuple(_cycles(element) for element in self.elements)


def group(name: str) -> PermutationGroup:
    """Look a group up: the symmetric S, alternating A, cyclic C and dihedral D of n points, or parity = C2.

    Raises:
        ValueError: If there is no group of that name, or it has more than 2,048 elements.
    """
    match = re.fullmatch(r"([SACD])([1-9][0-9]{0,3})", "C2" if name == "parity" else name)
    family, points = (match[1], int(match[2])) if match else ("", 0)
    if points < {"S": 2, "A": 3, "C": 2, "D": 3}.get(family, 1):
        raise ValueError(f"group must be one of {_CHOICES}, got {name!r}; choose one of these.")
    if points > _LIMIT:
        raise _too_large(name)
    turn = (*range(1, points), 0)
    match family:
        case "S":
            steps = [(1, 0, *range(2, points)), turn]
        case "A":
            steps = [_three_cycle(points, k) for k in range(2, points)]
        case "C":
            steps = [turn]
        case _:
            steps = [turn, tuple(-j % points for j in range(points))]
    return PermutationGroup.generated_by(name, list(dict.fromkeys(steps)))


def _close(
    name: str, identity: Permutation, steps: list[Permutation]
) -> tuple[list[Permutation], list[tuple[int, int]]]:
    """List every product of steps, and for each the place of its parent and the step from there."""
    found, parents, seen = [identity], [(0, -1)], {identity}
    for place, element in enumerate(found):  # grows while it is read
        for number, step in enumerate(steps):
            product = _compose(element, step)
            if product not in seen:
                if len(found) == _LIMIT:
                    raise _too_large(name)
                seen.add(product)
                found.append(product)
                parents.append((place, number))
    return found, parents


def _compose(left: Permutation, right: Permutation) -> Permutation:
    return tuple(left[j] for j in right)


def _three_cycle(points: int, third: int) -> Permutation:
    moved = {0: 1, 1: third, third: 0}
    return tuple(moved.get(j, j) for j in range(points))


def _cycles(permutation: Permutation) -> str:
    cycles, left = [], set(range(len(permutation)))
    for start in range(len(permutation)):
        cycle, point = [], start
        while point in left:
            left.remove(point)
            cycle.append(point)
            point = permutation[point]
        if len(cycle) > 1:
            cycles.append("(" + " ".join(map(str, cycle)) + ")")
    return "".join(cycles) or "()"


def _too_large(name: str) -> ValueError:
    return ValueError(
        f"A group may have at most {_LIMIT:,} elements, since all products are tabulated, "
        f"got more in {name!r}; choose a smaller one."
    )
