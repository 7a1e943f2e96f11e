"""The affine family: ``s_t = E_t |> s_{t-1} + f_t``, of which linear attention, DeltaNet and Mamba are rows."""

from scannable.affine import reference
from scannable.affine._actions import Action, Dense, Diagonal, Elementwise, Identity, Scalar, lift
from scannable.affine._layer import Carry, Layer, Row, RowState
from scannable.affine._recurrence import Implementation, default_implementation, elementwise, recurrence
from scannable.affine.rows import GLA, MLSTM, ROWS

__all__ = [
    "GLA",
    "MLSTM",
    "ROWS",
    "Action",
    "Carry",
    "Dense",
    "Diagonal",
    "Elementwise",
    "Identity",
    "Implementation",
    "Layer",
    "Row",
    "RowState",
    "Scalar",
    "default_implementation",
    "elementwise",
    "lift",
    "recurrence",
    "reference",
]
