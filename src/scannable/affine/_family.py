"""The table of the family."""

from scannable.affine._layer import Row
from scannable.affine.rows import ROWS


def family() -> tuple[Row, ...]:
    """Return a line for each row: those of the paper's table first ([1] v2, Table 1), then those it gives for free.

    The first eleven stand for the ten of that table, as far as we know without having seen it: S4 and S6 are one there.

    [1] Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918.
    """
    return tuple(layer.row for layer in ROWS.values())
