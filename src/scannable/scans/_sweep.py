"""The parallel form: up over perfect trees, down over prefixes, one batched merge a level each way.

The leaves follow a history of ``count`` leaves, of which only the roots of its perfect trees and their
folds are known; with ``count = 0`` this is the scan of a whole sequence. At level ``k`` a node is
a perfect tree of ``2**k`` leaves, and node ``i`` covers leaves ``i * 2**k .. (i + 1) * 2**k``. The prefix
of ``i * 2**k`` leaves is, for even ``i``, known from the level above, and for odd ``i`` one merge:
the prefix of ``(i - 1) * 2**k`` leaves with node ``i - 1`` ([1] Algorithm 1, without its padding).

[1] Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918 v2.
"""

import itertools

import torch

from scannable.scans._tree import Merge, Tensors
from scannable.scans._weave import part, weave


def sweep(
    merge: Merge, leaves: Tensors, count: int, roots: list[Tensors], folds: list[Tensors]
) -> tuple[Tensors, list[Tensors]]:
    """Return the prefixes of ``count .. count + M`` leaves, and the latest nodes that may be roots.

    Args:
        merge: The batched operator.
        leaves: ``M >= 0`` new leaves, each tensor ``(B, M, ...)``.
        count: How many leaves came before.
        roots: At ``k``, the tree of bit ``k`` of ``count``; read only where the bit is set.
        folds: At ``k``, the prefix of ``count >> k << k`` leaves, for ``k`` up to the bit length of
            ``count``, so that the last entry is the identity. Like the roots ``(B, 1, ...)``.

    Returns:
        The prefixes, each tensor ``(B, M + 1, ...)``; and for every level that has a new node the last
        node of even index, which is the root there if that bit of ``count + M`` is set.
    """
    levels = _up(merge, leaves, count, roots)
    prefixes = folds[min(len(levels), count.bit_length())]
    for level in reversed(range(len(levels))):
        if count >> level & 1:
            prefixes = _down_odd(merge, prefixes, levels[level], folds[level])
        else:
            prefixes = _down_even(merge, prefixes, levels[level], first=count >> level == 0)
    return prefixes, [[x[:, -1:] for x in nodes] for nodes in levels]


def _up(merge: Merge, nodes: Tensors, count: int, roots: list[Tensors]) -> list[Tensors]:
    """Build the trees that the new leaves complete; keep the nodes of even index, level by level."""
    levels = []
    while nodes[0].shape[1]:
        if count & 1:
            nodes = _concatenate(roots[len(levels)], nodes)
        evens, odds = map(list, zip(*map(part, nodes), strict=True))
        levels.append(evens)
        pairs = odds[0].shape[1]
        nodes = merge(_split(evens, pairs)[0], odds) if pairs else odds
        count >>= 1
    return levels


def _down_even(merge: Merge, parents: Tensors, nodes: Tensors, *, first: bool) -> Tensors:
    """Put the prefix after each node behind its parent, the prefix before that node.

    If the ``first`` parent is the empty prefix, the node itself is the prefix after it.
    """
    length, skip = nodes[0].shape[1], int(first)
    _, before, _ = _split(parents, skip, length)
    alone, others, _ = _split(nodes, skip, length)
    after = merge(before, others) if length > skip else others
    return [weave([p], [x, y]) for p, x, y in zip(parents, alone, after, strict=True)]


def _down_odd(merge: Merge, parents: Tensors, nodes: Tensors, fold: Tensors) -> Tensors:
    """Do the same where the history ends with a node of even index, whose prefix is ``fold``."""
    length = nodes[0].shape[1]
    _, before, _ = _split(parents, 1, length)
    _, others, _ = _split(nodes, 1, length)
    after = merge(before, others) if length > 1 else others
    later = [x[:, 1:] for x in parents]
    return [weave([f, y], [p]) for f, y, p in zip(fold, after, later, strict=True)]


def _concatenate(first: Tensors, then: Tensors) -> Tensors:
    return [torch.cat(pair, 1) for pair in zip(first, then, strict=True)]


def _split(tensors: Tensors, *stops: int) -> list[Tensors]:
    """Cut along axis 1 at ``stops``; unlike slices, the pieces have one backward pass in common."""
    bounds = [0, *stops, tensors[0].shape[1]]
    sizes = [stop - start for start, stop in itertools.pairwise(bounds)]
    return [list(piece) for piece in zip(*(x.split(sizes, 1) for x in tensors), strict=True)]
