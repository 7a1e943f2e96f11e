"""The parallel form: up over perfect trees, down over prefixes, one batched merge a level each way.

The leaves follow a history of ``count`` leaves, of which only the roots of its perfect trees and their
folds are known; with ``count = 0`` this is the scan of a whole sequence. At level ``k`` a node is
a perfect tree of ``2**k`` leaves, and node ``i`` covers leaves ``i * 2**k .. (i + 1) * 2**k``. The prefix
of ``i * 2**k`` leaves is, for even ``i``, known from the level above, and for odd ``i`` one merge:
the prefix of ``(i - 1) * 2**k`` leaves with node ``i - 1`` ([1] Algorithm 1, without its padding).

[1] Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918 v2.
"""

from scannable.scans._tree import Merge, Tensors
from scannable.scans._weave import join, split, unweave, weave


def sweep(
    merge: Merge,
    leaves: Tensors,
    count: int,
    roots: list[Tensors],
    folds: list[Tensors],
    *,
    inclusive: bool = False,
) -> tuple[Tensors, list[Tensors]]:
    """Return the prefixes of ``count .. count + M`` leaves, and the latest nodes that may be roots.

    Args:
        merge: The batched operator.
        leaves: ``M >= 0`` new leaves, each tensor ``(B, M, ...)``.
        count: How many leaves came before.
        roots: At ``k``, the tree of bit ``k`` of ``count``; read only where the bit is set.
        folds: At ``k``, the prefix of ``count >> k << k`` leaves, for ``k`` up to the bit length of
            ``count``, so that the last entry is the identity. Like the roots ``(B, 1, ...)``.
        inclusive: Leave out the first prefix, of ``count`` leaves; then ``M >= 1``.

    Returns:
        The prefixes, each tensor ``(B, M + 1, ...)``, or ``(B, M, ...)``; and for every level that has a new
        node the last node of even index, which is the root there if that bit of ``count + M`` is set.
    """
    levels = _up(merge, leaves, count, roots)
    prefixes: list[Tensors] = []
    for level in reversed(range(len(levels))):
        nodes, is_whole = levels[level]
        parents, last = _set_apart_last(prefixes) if is_whole else (prefixes, [])
        if count >> level == 0:
            prefixes = _down_first(merge, parents, nodes) + last
        elif count >> level & 1:
            prefixes = _down_odd(merge, parents, nodes) + last
        else:
            prefixes = _down_even(merge, [folds[level], *parents], nodes) + last
    return join(prefixes if inclusive else [folds[0], *prefixes]), [
        [x[:, -1:] for x in nodes] for nodes, _ in levels
    ]


def _up(merge: Merge, nodes: Tensors, count: int, roots: list[Tensors]) -> list[tuple[Tensors, bool]]:
    """Build the trees that the new leaves complete.

    Returns:
        For every level its nodes of even index, from the first that has a new leaf in it or in the
        node after it, and whether the last of them has a node after it.
    """
    levels = []
    while nodes[0].shape[1]:
        if count & 1:
            nodes = join([roots[len(levels)], nodes])
        length = nodes[0].shape[1]
        paired, *alone = split(nodes, length - 1) if length % 2 else [nodes]
        left, right = unweave(paired)
        levels.append((join([left, *alone]), length % 2 == 0))
        nodes = merge(left, right) if length > 1 else right
        count >>= 1
    return levels


def _set_apart_last(pieces: list[Tensors]) -> tuple[list[Tensors], list[Tensors]]:
    """Take off the prefix after the last parent: nothing at this level is merged with it."""
    *others, final = pieces
    if final[0].shape[1] == 1:
        return others, [final]
    most, last = split(final, final[0].shape[1] - 1)
    return [*others, most], [last]


def _down_first(merge: Merge, parents: list[Tensors], nodes: Tensors) -> list[Tensors]:
    """Put the prefix after each even node before the prefix after its parent.

    The first node has an empty prefix before it, so it is itself the prefix after it.
    """
    if not parents:
        return [nodes]
    first, others = split(nodes, 1)
    before = join(parents)
    return [first, weave(before, merge(before, others))]


def _down_odd(merge: Merge, parents: list[Tensors], nodes: Tensors) -> list[Tensors]:
    """Do the same where the first even node ends the history, so that it has been merged already."""
    if not parents:
        return []
    before = join(parents)
    return [weave(before, merge(before, split(nodes, 1)[1]))]


def _down_even(merge: Merge, parents: list[Tensors], nodes: Tensors) -> list[Tensors]:
    """Do the same where the first node is merged with the fold of the history, the first of ``parents``."""
    before = join(parents)
    return [split(weave(before, merge(before, nodes)), 1)[1]]
