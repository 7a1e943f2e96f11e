"""Prefix scans of any operator: the definition, the parallel form and the streaming form."""

from scannable.scans import reference
from scannable.scans._aggregator import Aggregator, State
from scannable.scans._bracketing import extend_calls, merges, perfect_trees, scan_calls
from scannable.scans._counter import Counter
from scannable.scans._scan import Implementation, scan

__all__ = [
    "Aggregator",
    "Counter",
    "Implementation",
    "State",
    "extend_calls",
    "merges",
    "perfect_trees",
    "reference",
    "scan",
    "scan_calls",
]
