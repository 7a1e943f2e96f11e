"""Reports: what they print, what they serialise, how their twins raise."""

import json
import math

import pytest
import torch

from operators import Learned, Skew, Sum, draw_skew
from scannable import testing
from scannable.testing import Finding, Report
from toy_models import ToyPSM

LAWS = [name.removeprefix("check_") for name in testing.__all__ if name.startswith("check_")]


def test_every_checker_has_a_twin():
    assert {f"assert_{law}" for law in LAWS} == {n for n in testing.__all__ if n.startswith("assert_")}
    for law in LAWS:
        assert getattr(testing, f"assert_{law}").__name__ == f"assert_{law}"


def test_a_report_prints_as_a_table():
    findings = (
        Finding.at_most("distance", 2.5e-13, 1e-12),
        Finding.equals("wrong merges", 3, 0),
        Finding(what="rounding", measured=2.2e-16),
    )
    report = Report(law="example", subject="it", findings=findings, table=({"form": "step", "n": 1},))
    assert not report.passed
    assert str(report).splitlines() == [
        "example of it: FAILED",
        "  form  n",
        "  step  1",
        "",
        "  finding       measured     bound",
        "  distance       2.5e-13  <= 1e-12      ok",
        "  wrong merges         3       = 0  FAILED",
        "  rounding       2.2e-16",
    ]


def test_a_report_is_read_by_name():
    report = testing.check_associative(Sum(), torch.zeros(1, 3, 2))
    assert report["triples"] == 1
    with pytest.raises(ValueError, match=r"no finding 'colour', choose from \['largest deviation'"):
        report["colour"]


def test_nan_passes_no_bound_and_still_serialises():
    finding = Finding.at_most("distance", math.nan, 1.0)
    assert finding.passed is False
    report = Report(law="l", subject="s", findings=(finding,), table=({"x": math.inf},))
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert json.loads(text)["findings"][0]["measured"] == "nan"


def test_every_report_serialises():
    leaves, tokens = torch.randn(2, 6, 8), torch.randint(0, 11, (2, 8))
    reports = [testing.check_identity(Learned(8), leaves[:, 0]), testing.check_associative(Sum(), leaves)]
    reports.append(testing.check_causal(ToyPSM(), tokens))
    for law in ("duality", "batch_independent", "counts", "resume"):
        check = getattr(testing, f"check_{law}")
        reports += [check(Learned(8), leaves), check(ToyPSM(), tokens)]
    for report in reports:
        loaded = json.loads(json.dumps(report.to_dict(), allow_nan=False))
        assert loaded["passed"] is True
        assert str(report).splitlines()[0].endswith(": passed")


def test_a_twin_returns_the_report_or_raises_with_it():
    leaves = draw_skew(1, 5)
    assert testing.assert_associative(Sum(), torch.zeros(1, 3)).passed
    with pytest.raises(
        AssertionError, match=r"associativity of Skew on .*FAILED\n(.*\n)+.*largest deviation"
    ):
        testing.assert_associative(Skew(), leaves)
