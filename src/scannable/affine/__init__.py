"""The affine family: ``s_t = E_t |> s_{t-1} + f_t``, of which linear attention, DeltaNet and Mamba are rows."""

from scannable.affine import reference
from scannable.affine._actions import Action, Dense, Diagonal, Elementwise, Identity, Scalar, lift
from scannable.affine._family import family
from scannable.affine._layer import Carry, Layer, Row, RowState
from scannable.affine._pairs import lifted
from scannable.affine._recurrence import Implementation, default_implementation, elementwise, recurrence
from scannable.affine.rows import (
    GLA,
    HGRN2,
    MLSTM,
    ROWS,
    RWKV6,
    S4,
    S6,
    DeltaNet,
    DeltaProduct,
    GatedDeltaNet,
    GatedRFA,
    KimiDeltaAttention,
    LinearAttention,
    Mamba,
    Mamba2,
    RetNet,
)

__all__ = [
    "GLA",
    "HGRN2",
    "MLSTM",
    "ROWS",
    "RWKV6",
    "S4",
    "S6",
    "Action",
    "Carry",
    "DeltaNet",
    "DeltaProduct",
    "Dense",
    "Diagonal",
    "Elementwise",
    "GatedDeltaNet",
    "GatedRFA",
    "Identity",
    "Implementation",
    "KimiDeltaAttention",
    "Layer",
    "LinearAttention",
    "Mamba",
    "Mamba2",
    "RetNet",
    "Row",
    "RowState",
    "Scalar",
    "default_implementation",
    "elementwise",
    "family",
    "lift",
    "lifted",
    "recurrence",
    "reference",
]
