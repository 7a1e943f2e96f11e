"""The rows, one file each."""

from scannable.affine._layer import Layer
from scannable.affine.rows._deltanet import DeltaNet
from scannable.affine.rows._deltaproduct import DeltaProduct
from scannable.affine.rows._gated_deltanet import GatedDeltaNet
from scannable.affine.rows._gated_rfa import GatedRFA
from scannable.affine.rows._gla import GLA
from scannable.affine.rows._hgrn2 import HGRN2
from scannable.affine.rows._kda import KimiDeltaAttention
from scannable.affine.rows._linear_attention import LinearAttention
from scannable.affine.rows._mamba import Mamba
from scannable.affine.rows._mamba2 import Mamba2
from scannable.affine.rows._mlstm import MLSTM
from scannable.affine.rows._retnet import RetNet
from scannable.affine.rows._rwkv6 import RWKV6
from scannable.affine.rows._s4 import S4
from scannable.affine.rows._s6 import S6

ROWS: dict[str, type[Layer]] = {
    layer.row.name: layer
    for layer in (
        LinearAttention,
        DeltaNet,
        GatedDeltaNet,
        RetNet,
        Mamba2,
        MLSTM,
        GatedRFA,
        S4,
        S6,
        Mamba,
        GLA,
        RWKV6,
        HGRN2,
        KimiDeltaAttention,
        DeltaProduct,
    )
}
"""The rows by name: those of the paper's table first, in its order, then those that the family gives for free."""

__all__ = [
    "GLA",
    "HGRN2",
    "MLSTM",
    "ROWS",
    "RWKV6",
    "S4",
    "S6",
    "DeltaNet",
    "DeltaProduct",
    "GatedDeltaNet",
    "GatedRFA",
    "KimiDeltaAttention",
    "LinearAttention",
    "Mamba",
    "Mamba2",
    "RetNet",
]
