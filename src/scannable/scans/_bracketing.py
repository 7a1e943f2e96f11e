"""Which merges there are, as pure integers: perfect trees named by binary digits.

The history of ``t`` leaves is cut into perfect trees, one for each set bit of ``t``, the largest and
oldest first; each tree is merged in a balanced way, and the trees are folded from left to right.
"""


def perfect_trees(count: int) -> list[tuple[int, int]]:
    """Cut ``count`` leaves into spans ``(start, stop)`` of falling powers of two, oldest first."""
    spans, start = [], 0
    for level in reversed(range(count.bit_length())):
        if count >> level & 1:
            spans.append((start, start + (1 << level)))
            start += 1 << level
    return spans


def merges(count: int) -> int:
    """Count the merges behind all prefixes of ``1..count`` leaves: ``2N - popcount(N) - bit_length(N)``.

    ``N - popcount(N)`` of them build perfect trees; the others, one for every length that is not a
    power of two, append a tree to the fold of the larger trees before it.
    """
    return 2 * count - count.bit_count() - count.bit_length()


def scan_calls(count: int) -> int:
    """Bound the batched calls of an exclusive scan of ``count`` leaves: ``2k - 1`` for ``N <= 2**k``."""
    return max(0, 2 * max(0, count - 1).bit_length() - 1)


def extend_calls(count: int, more: int) -> int:
    """Bound the batched calls that append ``more`` leaves to a counter of ``count``."""
    return 2 * (count + more).bit_length()
