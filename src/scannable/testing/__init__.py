"""Laws to check on your own aggregators and models; each checker has a twin that asserts.

>>> print(check_duality(model, tokens))      # a table with the verdict
>>> assert_duality(model, tokens)            # AssertionError with that table, unless it passed
"""

from scannable.testing._algebra import assert_associative, assert_identity, check_associative, check_identity
from scannable.testing._counts import CountingAggregator, assert_counts, check_counts
from scannable.testing._duality import DualityReport, assert_duality, check_duality
from scannable.testing._independence import (
    assert_batch_independent,
    assert_causal,
    check_batch_independent,
    check_causal,
)
from scannable.testing._report import Finding, Report
from scannable.testing._resume import assert_resume, check_resume
from scannable.testing._subject import SequenceModel

__all__ = [
    "CountingAggregator",
    "DualityReport",
    "Finding",
    "Report",
    "SequenceModel",
    "assert_associative",
    "assert_batch_independent",
    "assert_causal",
    "assert_counts",
    "assert_duality",
    "assert_identity",
    "assert_resume",
    "check_associative",
    "check_batch_independent",
    "check_causal",
    "check_counts",
    "check_duality",
    "check_identity",
    "check_resume",
]
