"""The models of a bench of decoding, from the sizes in its config."""

from typing import Literal

from scannable.experiments._bench_decode_config import BenchDecodeConfig
from scannable.models import AffineLanguageModelConfig, DecoderConfig, TransformerPSMConfig


def psm(config: BenchDecodeConfig, inference: Literal["concatenated", "cross"]) -> TransformerPSMConfig:
    """Return the Transformer-PSM that reads its prefix in one of two ways."""
    return TransformerPSMConfig(
        width=config.width,
        heads=config.heads,
        chunk=config.chunk,
        inference_layers=config.layers,
        positions="rotary",
        inference=inference,
    )


def decoder(config: BenchDecodeConfig, window: int | None) -> DecoderConfig:
    """Return the decoder that sees all tokens, or a window of the latest."""
    return DecoderConfig(
        width=config.width, heads=config.heads, layers=config.layers, positions="rotary", window=window
    )


def affine(config: BenchDecodeConfig, row: str) -> AffineLanguageModelConfig:
    """Return the model of a row: Mamba-2 without MLPs, another with them."""
    mamba = row == "mamba2"
    return AffineLanguageModelConfig(
        row=row,
        width=config.width,
        layers=config.mamba2_layers if mamba else config.deltanet_layers,
        options={"heads": 2 * config.heads, "state": 128} if mamba else {"heads": config.heads // 2},
        mlp=not mamba,
        implementation="recurrent",
    )
