"""The layers that erase, with weights set by hand."""

import math

import torch

from scannable import affine
from scannable.viewer.family._weights import (
    FADE,
    FAR,
    KEYS,
    LETTERS,
    NONE,
    WRITTEN,
    Setting,
    before_silu,
    fill,
)

_FADING = math.log(math.expm1(-math.log(FADE)))
"""What a gate of the form ``exp(-softplus(x))`` is given to keep ``FADE``."""


def deltanet() -> Setting:
    """Set DeltaNet."""
    layer = affine.DeltaNet(4, 1).double()
    _erase(layer)
    return Setting(layer=layer, note="b_t is 1: what the memory says of the key is taken out, then written.")


def gated_deltanet() -> Setting:
    """Set Gated DeltaNet."""
    layer = affine.GatedDeltaNet(4, 1, key_share=1.0, value_share=1.0).double()
    _erase(layer)
    fill(layer, "decay.weight", -FAR)
    fill(layer, "A_log", 0.0)
    fill(layer, "dt_bias", _FADING)
    return Setting(layer=layer, note=f"b_t is 1. The gate a_t is open at letters and keeps {FADE} at rest.")


def kda() -> Setting:
    """Set Kimi Delta Attention."""
    layer = affine.KimiDeltaAttention(4, 1).double()
    _erase(layer)
    fill(layer, "decay.0.weight", LETTERS)
    fill(layer, "decay.1.weight", -FAR)
    fill(layer, "A_log", 0.0)
    fill(layer, "dt_bias", torch.tensor([_FADING] * 2 + [-FAR] * 2))
    return Setting(
        layer=layer,
        note=f"b_t is 1. The gate a_t is open at letters; at rest channels 1 and 2 keep {FADE}, the others 1.",
    )


def deltaproduct() -> Setting:
    """Set DeltaProduct."""
    layer = affine.DeltaProduct(4, 1, gated=False, negative_eigenvalues=False, taps=1).double()
    second = torch.stack([NONE[0], NONE[0], NONE[0], KEYS[2]], 1)
    fill(
        layer,
        "qkv.weight",
        [NONE, before_silu(WRITTEN / 4), before_silu(second / 4), before_silu(LETTERS), NONE],
    )
    fill(layer, "convolution.weight", 1.0)
    fill(layer, "erase.weight", FAR * torch.tensor([[1.0, 1, 1, 1], [-1, -1, -1, 1]]))
    return Setting(
        layer=layer,
        note="Two factors a token. The second rests until d, and then it erases key 3 too: one token, two directions.",
    )


def _erase(layer: affine.DeltaNet | affine.GatedDeltaNet | affine.KimiDeltaAttention) -> None:
    """Set what rows with a delta rule have in common."""
    fill(layer, "inputs.qkv.weight", [NONE, before_silu(WRITTEN / 4), before_silu(LETTERS)])
    fill(layer, "inputs.convolution.weight", torch.tensor([0.0, 0, 0, 1]))
    fill(layer, "inputs.erase.weight", FAR)
