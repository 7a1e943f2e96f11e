import importlib.util
import json

import pytest
import torch

from scannable.experiments import BenchAffineConfig, _bench_affine, bench_affine

SMALL = {
    "threads": 1,
    "repeats": 1,
    "sample_seconds": 0.0,
    "shape": (1, 20, 2, 4, 3),
    "mamba": (1, 9, 4, 2),
}


def test_a_bench_of_the_family_reports_every_kind():
    said, threads = [], torch.get_num_threads()
    report = json.loads(json.dumps(bench_affine(BenchAffineConfig(**SMALL), progress=said.append)))
    assert torch.get_num_threads() == threads
    kinds = [(row["decay"], row["erase"]) for row in report["recurrence"]]
    assert len(set(kinds)) == len(kinds) == 6
    for row in report["recurrence"]:
        assert row["scan_length"] == row["shape"][1] == 20
        assert row["seconds"] == row["seconds_at_scan_length"]
        assert row["loop_speedup"] > 0
        assert row["scan_speedup"] > 0
    if importlib.util.find_spec("mambapy"):
        assert report["mamba"]["speedup"] > 0
        assert report["mamba"]["memory_ratio"] > 0
        assert len(said) == 7
    else:
        assert report["mamba"] is None
    assert report["machine"]["threads"] == 1


def test_a_scan_that_needs_too_much_memory_is_compared_at_a_length_that_fits():
    config = BenchAffineConfig(**SMALL | {"scan_bytes": 1, "shape": (1, 300, 2, 4, 3)})
    row = _bench_affine._recurrence(config, "scalar", erase=False)
    assert row["scan_length"] == 37
    assert row["shape"][1] == 300
    assert row["seconds_at_scan_length"] != row["seconds"]


def test_a_peer_that_is_not_there_is_left_out(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(_bench_affine, "DECAYS", ())
    assert bench_affine(BenchAffineConfig(**SMALL))["mamba"] is None


def test_nothing_is_timed_when_forms_differ(monkeypatch):
    def a_little_off(*inputs, implementation, **options):
        outputs, state = recurrence(*inputs, implementation=implementation, **options)
        return outputs, state * (1.001 if implementation == "chunkwise" else 1)

    recurrence = _bench_affine.recurrence
    monkeypatch.setattr(_bench_affine, "recurrence", a_little_off)
    with pytest.raises(RuntimeError, match=r"the last state of the chunkwise form .* error of 1\.0e-03"):
        bench_affine(BenchAffineConfig(**SMALL))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"repeats": 0}, "at least 1, got 0, 1"),
        ({"shape": (1, 0, 1, 1, 1)}, r"\(1, 0, 1, 1, 1\)"),
        ({"sample_seconds": float("nan")}, "finite and at least 0, got nan"),
    ],
)
def test_nonsense_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        BenchAffineConfig(**SMALL | change)
