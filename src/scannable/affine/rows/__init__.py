"""The rows, one file each."""

from scannable.affine.rows._gla import GLA
from scannable.affine.rows._mlstm import MLSTM

ROWS = {layer.row.name: layer for layer in (MLSTM, GLA)}
"""The rows by name: the ten of the paper's table first, in its order."""

__all__ = ["GLA", "MLSTM", "ROWS"]
