"""How deep the merges of a scan lie, as formulas: the calls of the parallel form, and the height of a prefix."""


def ways(length: int) -> tuple[int, int]:
    """Return how many batched calls an inclusive scan of ``N`` leaves makes on the way up, and on the way down.

    Level ``k`` of the way up makes trees of ``2**k`` leaves, so it is there for ``2, 4, 8 .. <= N``. The first prefix
    that level ``k`` of the way down makes is that of ``3 * 2**k`` leaves, so it is there for ``3, 6, 12 .. <= N``.
    """
    return length.bit_length() - 1, (length // 3).bit_length()


def height(count: int) -> int:
    """Return how many merges lie one above another in the prefix of ``count`` leaves.

    The oldest tree is the highest, ``bit_length(count) - 1``, and each of the other ``popcount(count) - 1`` roots is
    folded in by one merge more.
    """
    return count.bit_length() + count.bit_count() - 2
