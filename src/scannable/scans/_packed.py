"""Sequences of many lengths in one scan: the same levels as ``_sweep``, with gathered places."""

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from scannable.scans._tree import Merge, Tensors


def check_offsets(offsets: Sequence[int] | Tensor, length: int) -> list[int]:
    """Return the lengths of the packed sequences.

    Raises:
        TypeError: If the offsets are not whole numbers.
        ValueError: If they do not rise from 0 to ``length``.
    """
    bounds = offsets.tolist() if isinstance(offsets, Tensor) else offsets
    if not isinstance(bounds, list | tuple | range) or not all(type(bound) is int for bound in bounds):
        raise TypeError(f"offsets must be whole numbers in a row, got {offsets!r}; convert them to int.")
    lengths = [stop - start for start, stop in itertools.pairwise(bounds)]
    if not bounds or bounds[0] != 0 or bounds[-1] != length or any(n < 0 for n in lengths):
        raise ValueError(
            f"offsets must rise from 0 to the number of leaves, {length}, got {bounds}; "
            f"sequence i holds leaves offsets[i] to offsets[i + 1]."
        )
    return lengths


def packed_scan(
    merge: Merge, leaves: Tensors, identity: Tensors, lengths: list[int], *, inclusive: bool
) -> Tensors:
    """Return the prefixes of every sequence, ``(1, sum of lengths, ...)`` like the leaves.

    Args:
        merge: The batched operator.
        leaves: The sequences end to end, tensors ``(1, sum of lengths, ...)``.
        identity: The empty prefix, tensors ``(1, 1, ...)``.
        lengths: How many leaves each sequence has.
        inclusive: Whether place ``i`` has seen leaf ``i``.
    """
    starts = [start for start, n in zip(_starts(lengths), lengths, strict=True) if n]
    lengths = [n for n in lengths if n]
    counts = [n if inclusive else n - 1 for n in lengths]
    read = _places(zip(starts, counts, [1] * len(counts), strict=True))
    levels = _up(merge, _gather(leaves, read), counts)
    prefixes = _gather(identity, torch.zeros(len(counts), dtype=torch.long))
    for level in reversed(range(len(levels))):
        prefixes = _down(merge, prefixes, levels[level], [count >> level for count in counts])
    if not inclusive:
        return prefixes
    begins = _starts([count + 1 for count in counts])
    return _gather(prefixes, _places((begin + 1, n, 1) for begin, n in zip(begins, counts, strict=True)))


def _up(merge: Merge, nodes: Tensors, counts: list[int]) -> list[Tensors]:
    """Build the perfect trees of every sequence, level by level."""
    levels = []
    while any(counts):
        levels.append(nodes)
        pairs = [count // 2 for count in counts]
        runs = zip(_starts(counts), pairs, [2] * len(counts), strict=True)
        left = _places(runs)
        nodes = merge(_gather(nodes, left), _gather(nodes, left + 1)) if len(left) else []
        counts = pairs
    return levels


def _down(merge: Merge, parents: Tensors, nodes: Tensors, sizes: list[int]) -> Tensors:
    """Put the prefix after each node of even index behind its parent, the prefix before that node.

    Node 0 of a sequence has an empty prefix before it, so the node is itself the prefix after it.
    """
    begins, starts = _starts([size // 2 + 1 for size in sizes]), _starts(sizes)
    pairs = [max(0, size - 1) // 2 for size in sizes]
    before = _places((begin + 1, n, 1) for begin, n in zip(begins, pairs, strict=True))
    others = _places((start + 2, n, 2) for start, n in zip(starts, pairs, strict=True))
    pool = [parents, nodes]
    if len(before):
        pool.append(merge(_gather(parents, before), _gather(nodes, others)))
    first_node = parents[0].shape[1]
    first_merged = first_node + nodes[0].shape[1]
    order = []
    for size, begin, start, done in zip(sizes, begins, starts, _starts(pairs), strict=True):
        merged = range(first_merged + done, first_merged + done + size)
        after = (first_node + start, *merged)
        order += [after[i // 2] if i % 2 else begin + i // 2 for i in range(size + 1)]
    joined = [torch.cat(tensors, 1) for tensors in zip(*pool, strict=True)]
    return _gather(joined, torch.tensor(order))


def _starts(sizes: Sequence[int]) -> list[int]:
    return [0, *itertools.accumulate(sizes)][:-1]


def _places(runs: Iterable[tuple[int, int, int]]) -> Tensor:
    """Join the places ``start, start + stride, ...`` of runs ``(start, length, stride)``."""
    return torch.cat([start + stride * torch.arange(length) for start, length, stride in runs])


def _gather(tensors: Tensors, places: Tensor) -> Tensors:
    return [x.index_select(1, places.to(x.device)) for x in tensors]
