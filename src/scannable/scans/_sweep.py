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
        parents = [join(prefixes)] if prefixes else []
        if count >> level == 0:
            prefixes = _down_first(merge, parents, nodes, is_whole)
        elif count >> level & 1:
            prefixes = _down_odd(merge, parents, nodes, is_whole)
        else:
            prefixes = _down_even(merge, folds[level], parents, nodes, is_whole)
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
        levels.append((join([left, *alone]), not alone))
        nodes = merge(left, right) if length > 1 else right
        count >>= 1
    return levels


def _before(parents: list[Tensors], is_whole: bool) -> list[Tensors]:
    """Leave out the prefix after the last parent where nothing at this level is merged with it."""
    if not is_whole:
        return parents
    length = parents[0][0].shape[1]
    return [split(parents[0], length - 1)[0]] if length > 1 else []


def _down_first(merge: Merge, parents: list[Tensors], nodes: Tensors, is_whole: bool) -> list[Tensors]:
    """Put the prefix after each even node before the prefix after its parent; return pieces to be joined.

    The first node has an empty prefix before it, so it is itself the prefix after it.
    """
    after = [nodes]
    for before in _before(parents, is_whole):
        first, others = split(nodes, 1)
        after = [first, merge(before, others)]
    if is_whole:
        return [weave(join(after), *parents)]
    return [after[0], *(weave(known, after[1]) for known in parents)]


def _down_odd(merge: Merge, parents: list[Tensors], nodes: Tensors, is_whole: bool) -> list[Tensors]:
    """Do the same where the first even node ends the history, so that it has been merged already."""
    before = _before(parents, is_whole)
    woven = [weave(known, merge(known, split(nodes, 1)[1])) for known in before]
    last = [split(known, known[0].shape[1] - 1)[1] for known in parents if is_whole]
    return woven + last


def _down_even(
    merge: Merge, fold: Tensors, parents: list[Tensors], nodes: Tensors, is_whole: bool
) -> list[Tensors]:
    """Do the same where the first node is merged with the fold of the history."""
    before = join([fold, *_before(parents, is_whole)])
    after = merge(before, nodes)
    return [weave(after, *parents)] if is_whole else [split(weave(before, after), 1)[1]]
