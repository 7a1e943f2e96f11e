"""Models: Enc + Agg + Inf, the Transformer-PSM, the mixer layer and the baseline."""

from scannable.models._affine import AffineLanguageModel, AffineLanguageModelConfig
from scannable.models._build import MODELS, ModelConfig, build
from scannable.models._decoder import Decoder, DecoderConfig
from scannable.models._generate import generate
from scannable.models._mixer import PrefixScannableMixer
from scannable.models._prefix_scannable import PrefixScannable
from scannable.models._stepper import stepper
from scannable.models._stepper_base import Stepper
from scannable.models._stream import Stream
from scannable.models._transformer_psm import TransformerPSM, TransformerPSMConfig

__all__ = [
    "MODELS",
    "AffineLanguageModel",
    "AffineLanguageModelConfig",
    "Decoder",
    "DecoderConfig",
    "ModelConfig",
    "PrefixScannable",
    "PrefixScannableMixer",
    "Stepper",
    "Stream",
    "TransformerPSM",
    "TransformerPSMConfig",
    "build",
    "generate",
    "stepper",
]
