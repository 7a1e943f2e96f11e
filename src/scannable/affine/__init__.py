"""The affine family: ``s_t = E_t |> s_{t-1} + f_t``, of which linear attention, DeltaNet and Mamba are rows."""

from scannable.affine import reference
from scannable.affine._actions import Action, Dense, Diagonal, Elementwise, Identity, Scalar, lift
from scannable.affine._recurrence import Implementation, default_implementation, elementwise, recurrence

__all__ = [
    "Action",
    "Dense",
    "Diagonal",
    "Elementwise",
    "Identity",
    "Implementation",
    "Scalar",
    "default_implementation",
    "elementwise",
    "lift",
    "recurrence",
    "reference",
]
