"""The language models of the paper's table, and the baselines made of the same blocks, at GPT-2's base size."""

from dataclasses import dataclass, replace
from typing import Literal

from scannable.models import AffineLanguageModelConfig, DecoderConfig, ModelConfig, TransformerPSMConfig

Inference = Literal["concatenated", "cross"]


@dataclass(frozen=True, kw_only=True)
class LanguageRow:
    """A row of the table: which model, and how many tokens it reads at once in training."""

    model: ModelConfig
    length: int = 512


def _psm(chunk: int, inference: Inference = "concatenated") -> TransformerPSMConfig:
    return TransformerPSMConfig(
        width=768,
        heads=12,
        chunk=chunk,
        aggregator_layers=1,
        inference_layers=12,
        positions="rotary",
        inference=inference,
        scaled=True,
    )


DECODER = DecoderConfig(width=768, heads=12, layers=12, positions="rotary", scaled=True)


LANGUAGE_ROWS = {
    **{f"paper-{chunk}": LanguageRow(model=_psm(chunk)) for chunk in (32, 64, 128, 256)},
    **{f"cross-{chunk}": LanguageRow(model=_psm(chunk, "cross")) for chunk in (64, 256)},
    "decoder": LanguageRow(model=DECODER),
    "decoder-13": LanguageRow(model=replace(DECODER, layers=13)),
    "window-128": LanguageRow(model=replace(DECODER, window=128)),
    "gpt2": LanguageRow(model=replace(DECODER, positions="absolute", initialisation="gpt2", scaled=False)),
    "mamba2": LanguageRow(
        model=AffineLanguageModelConfig(
            row="mamba2",
            width=768,
            layers=24,
            mlp=False,
            scaled=True,
            options={"heads": 24, "state": 128},
        )
    ),
    "gla": LanguageRow(model=AffineLanguageModelConfig(row="gla", width=768, layers=12, scaled=True)),
    "paper-64-8k": LanguageRow(model=_psm(64), length=8192),
    "paper-256-8k": LanguageRow(model=_psm(256), length=8192),
    "cross-256-8k": LanguageRow(model=_psm(256, "cross"), length=8192),
    "decoder-8k": LanguageRow(model=DECODER, length=8192),
    "window-512-8k": LanguageRow(model=replace(DECODER, window=512), length=8192),
    "paper-32-residual": LanguageRow(model=replace(_psm(32), aggregator_norm=False)),
    "paper-64-unscaled": LanguageRow(model=replace(_psm(64), scaled=False)),
    "decoder-unscaled": LanguageRow(model=replace(DECODER, scaled=False)),
}
"""By name: the inference module or kind of model, ``C``, layers or window, and ``8k`` for 8,192 tokens at once.

A Transformer-PSM has one aggregator layer and twelve inference layers, as in the paper; ``decoder-13`` has as many
parameters. ``window-128`` sees as much as a chunk of 64 and the state before it. ``gpt2`` has learned positions and
first weights as published; everything else has rotary positions, weights by the number of inputs, and token vectors
multiplied by the root of the width where they are read, except in rows that end in ``unscaled``. In ``residual`` the
aggregator has no norm behind it: it adds to the right state.
"""
