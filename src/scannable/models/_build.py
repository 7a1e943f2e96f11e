"""From a config to a model."""

from torch import nn

from scannable.models._affine import AffineLanguageModel, AffineLanguageModelConfig
from scannable.models._decoder import Decoder, DecoderConfig
from scannable.models._transformer_psm import TransformerPSM, TransformerPSMConfig

ModelConfig = TransformerPSMConfig | DecoderConfig | AffineLanguageModelConfig

MODELS: dict[str, type[ModelConfig]] = {
    "transformer-psm": TransformerPSMConfig,
    "decoder": DecoderConfig,
    "affine": AffineLanguageModelConfig,
}
"""The names of models in files and on the command line."""


def build(config: ModelConfig, vocabulary: int) -> nn.Module:
    """Return a fresh model, its weights drawn from torch's global generator."""
    match config:
        case TransformerPSMConfig():
            return TransformerPSM(config, vocabulary)
        case DecoderConfig():
            return Decoder(config, vocabulary)
        case AffineLanguageModelConfig():
            return AffineLanguageModel(config, vocabulary)
