"""Prefix-scannable sequence models: trained in parallel over a tree, streamed in logarithmic memory."""

from scannable import testing
from scannable.models import (
    Decoder,
    DecoderConfig,
    PrefixScannable,
    PrefixScannableMixer,
    Stream,
    TransformerPSM,
    TransformerPSMConfig,
)
from scannable.scans import Aggregator, Counter, scan

__all__ = [
    "Aggregator",
    "Counter",
    "Decoder",
    "DecoderConfig",
    "PrefixScannable",
    "PrefixScannableMixer",
    "Stream",
    "TransformerPSM",
    "TransformerPSMConfig",
    "scan",
    "testing",
]
