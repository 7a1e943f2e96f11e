"""What the family's costs are made of."""

import json
import math

import pytest

from scannable.affine import ROWS
from scannable.experiments import FamilyConfig, family_counts
from scannable.experiments import _family as experiment
from scannable.scans import scan_calls


def test_counts_are_kept_with_their_exponents_and_json_can_hold_them(monkeypatch):
    monkeypatch.setattr(experiment, "ROWS", {name: ROWS[name] for name in ("s4", "deltaproduct")})
    found = family_counts(FamilyConfig(lengths=(16, 64, 128)))
    assert json.loads(json.dumps(found, allow_nan=False)) == found | {
        "config": found["config"] | {"lengths": [16, 64, 128]}
    }
    by_name = {entry["name"]: entry for entry in found["models"]}
    assert list(by_name) == ["s4", "deltaproduct", "transformer-psm", "decoder"]
    for name, factors in (("s4", 1), ("deltaproduct", 2)):
        assert by_name[name]["memory"] == 0
        for point in by_name[name]["points"]:
            assert 0 < point["calls"] <= scan_calls(factors * point["length"])
    assert by_name["decoder"]["memory"] == pytest.approx(1)
    assert by_name["decoder"]["work"] > by_name["s4"]["work"]
    assert not math.isnan(by_name["transformer-psm"]["memory"])


@pytest.mark.parametrize("lengths", [(), (8,), (16, 8), (0, 8)])
def test_lengths_that_do_not_grow_are_refused(lengths):
    with pytest.raises(ValueError, match="lengths must be two or more that grow"):
        FamilyConfig(lengths=lengths)


@pytest.mark.parametrize("change", [{"chunk": 0}, {"heads": 5}, {"width": 0}])
def test_sizes_that_no_model_has_are_refused(change):
    with pytest.raises(ValueError, match=r"width a multiple of 2 \* heads, got width="):
        FamilyConfig(**change)
