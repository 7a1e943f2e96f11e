"""What is trained on text if nothing else is asked for: small models, for a CPU."""

from dataclasses import replace

from scannable.models import AffineLanguageModelConfig, DecoderConfig, TransformerPSMConfig
from scannable.training import OptimiserConfig, TextConfig, TextRunConfig

SMALL = TextRunConfig(
    model=TransformerPSMConfig(
        width=128,
        heads=4,
        chunk=32,
        aggregator_layers=1,
        inference_layers=2,
        positions="rotary",
        scaled=True,
    ),
    optimiser=OptimiserConfig(rate=3e-3, warmup=50, decay=0.1, betas=(0.9, 0.95)),
    text=TextConfig(length=256, tokenizer="gpt2-4096"),
    tokens=2048,
    steps=1000,
    log_every=20,
    check_every=250,
    check_tokens=16_384,
)
"""A Transformer-PSM that two CPU cores train in five minutes.

With all of GPT-2's tokens most of that would be spent on the head."""

TEXT_RECIPES = {
    "transformer-psm": SMALL,
    "decoder": replace(
        SMALL, model=DecoderConfig(width=128, heads=4, layers=2, positions="rotary", scaled=True)
    ),
    "affine": replace(SMALL, model=AffineLanguageModelConfig(row="gla", width=128, layers=2, scaled=True)),
}
"""What is trained on text if nothing else is asked for, by the name of the model."""
