"""From a config to a model."""

from torch import nn

from scannable.models._decoder import Decoder, DecoderConfig
from scannable.models._transformer_psm import TransformerPSM, TransformerPSMConfig

ModelConfig = TransformerPSMConfig | DecoderConfig

MODELS: dict[str, type[ModelConfig]] = {"transformer-psm": TransformerPSMConfig, "decoder": DecoderConfig}
"""The names of models in files and on the command line."""


def build(config: ModelConfig, vocabulary: int) -> nn.Module:
    """Return a fresh model, its weights drawn from torch's global generator."""
    match config:
        case TransformerPSMConfig():
            return TransformerPSM(config, vocabulary)
        case DecoderConfig():
            return Decoder(config, vocabulary)
