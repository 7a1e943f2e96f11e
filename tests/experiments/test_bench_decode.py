import json

import pytest
import torch

from scannable.experiments import _bench_decode, _latency
from scannable.experiments._bench_decode import BenchDecodeConfig, bench_decode
from scannable.models._stepper_base import InPlace

SMALL = {
    "width": 16,
    "heads": 2,
    "layers": 1,
    "chunk": 4,
    "vocabulary": 20,
    "mamba2_layers": 1,
    "deltanet_layers": 1,
    "contexts": (9, 16),
    "batches": (1, 2),
    "steps": 5,
    "stream": 20,
    "copied": 1000,
    "compile": False,
    "dtype": "float32",
}


def test_a_bench_of_decoding_reports_every_model():
    said = []
    report = json.loads(json.dumps(bench_decode(BenchDecodeConfig(**SMALL), progress=said.append)))
    rows = {(row["model"], row["batch"], row["context"]): row for row in report["rows"]}
    assert len(rows) == len(report["rows"]) == 2 * (3 * 2 + 3)
    for (model, batch, context), row in rows.items():
        assert 0 < row["median"] <= row["p99"] <= row["p999"]
        assert row["tokens_per_second"] * row["mean"] == pytest.approx(batch)
        if model == "full attention":
            assert row["state_bytes"] == context * batch * 2 * 16 * 4
            assert row["bandwidth_share"] > 0
            assert row["attention_share"] > 0
            assert row["attention"] in row["attention_seconds"]
        else:
            assert row["error"] < 1e-5
    assert [row["model"] for row in report["streams"]] == ["psm concatenated", "psm cross"]
    for row in report["streams"]:
        assert row["tokens"] == 20
        assert row["ratio"] == row["last"] / row["first"]
    assert report["copy_bandwidth"] > 0
    assert len(said) == 1 + 2 * (2 * (1 + 2) + 1 + 2 * 2 + 3) + 2


@pytest.mark.parametrize(
    ("count", "p99", "p999"),
    [(1, 1, 1), (3, 3, 3), (100, 99, 100), (150, 149, 150), (1000, 990, 999), (2500, 2475, 2498)],
)
def test_a_percentile_is_the_least_that_so_many_do_not_exceed(count, p99, p999):
    found = _latency.summary([float(x) for x in range(count, 0, -1)])
    assert (found["p99"], found["p999"]) == (p99, p999)
    assert found["median"] == found["mean"] == (count + 1) / 2
    ends = max(1, min(1000, count // 2))
    assert (found["first"], found["last"]) == (count - (ends - 1) / 2, 1 + (ends - 1) / 2)


def test_a_chunk_may_be_a_single_token():
    settings = SMALL | {"chunk": 1, "batches": (1,), "contexts": (1,)}
    assert all(
        row["error"] < 1e-5 for row in bench_decode(BenchDecodeConfig(**settings))["rows"] if "error" in row
    )


def test_nothing_is_timed_when_logits_differ(monkeypatch):
    step = InPlace.step
    monkeypatch.setattr(InPlace, "step", lambda self, token: 1.001 * step(self, token))
    monkeypatch.setattr(_bench_decode, "latencies", lambda *x: pytest.fail("timed"))
    with pytest.raises(RuntimeError, match=r"logits of ChunkStepper have a relative error of 1\.0e-03"):
        bench_decode(BenchDecodeConfig(**SMALL))


def test_steps_are_timed_one_by_one(device):
    seen = []
    seconds = _latency.latencies(seen.append, torch.arange(6, device=device).view(3, 2))
    assert len(seconds) == len(seen) == 3
    assert min(seconds) > 0


@pytest.mark.parametrize("change", [{"steps": 0}, {"contexts": ()}, {"batches": (1, 0)}])
def test_nonsense_is_refused(change):
    with pytest.raises(ValueError, match="must be at least 1, got"):
        BenchDecodeConfig(**SMALL | change)
