"""Prefix-scannable sequence models: trained in parallel over a tree, streamed in logarithmic memory."""

from scannable import affine, testing
from scannable.models import (
    AffineLanguageModel,
    AffineLanguageModelConfig,
    Decoder,
    DecoderConfig,
    PrefixScannable,
    PrefixScannableMixer,
    Stream,
    TransformerPSM,
    TransformerPSMConfig,
)
from scannable.scans import Aggregator, Counter, scan
from scannable.viewer import view

__all__ = [
    "AffineLanguageModel",
    "AffineLanguageModelConfig",
    "Aggregator",
    "Counter",
    "Decoder",
    "DecoderConfig",
    "PrefixScannable",
    "PrefixScannableMixer",
    "Stream",
    "TransformerPSM",
    "TransformerPSMConfig",
    "affine",
    "scan",
    "testing",
    "view",
]
