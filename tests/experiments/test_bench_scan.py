import json

import pytest
import torch

from scannable.experiments import BenchScanConfig, _bench_scan, bench_scan
from scannable.experiments._timing import peak_bytes

SMALL = {
    "repeats": 1,
    "overhead_repeats": 1,
    "block": 64,
    "threads": 1,
    "sample_seconds": 0.0,
    "length": 9,
    "chunk": 2,
    "width": 8,
    "heads": 2,
    "shapes": ((2, 9, 4),),
    "memory_shapes": ((1, 512, 32),),
}


def test_a_bench_reports_ratios_and_where_they_were_taken():
    said = []
    threads = torch.get_num_threads()
    report = json.loads(json.dumps(bench_scan(BenchScanConfig(**SMALL), progress=said.append)))
    assert torch.get_num_threads() == threads
    assert report["overhead"]["overhead"] > 0
    assert sum(report["overhead"]["rows"]) == 2 * 8 - 1 - 4
    assert report["against"][0]["speedup"] > 0
    assert report["memory"][0]["ratio"] > 0
    assert 0 < report["memory"][0]["blocks_ratio"] < report["memory"][0]["ratio"]
    assert report["memory"][0]["blocks_speedup"] > 0
    assert report["config"]["seed"] == 0
    assert report["machine"]["torch"] == torch.__version__
    assert report["machine"]["threads"] == 1
    assert len(said) == 3


def test_nothing_is_timed_when_outputs_differ(monkeypatch):
    def scan_off_by_little(aggregator, leaves, **options):
        states = scan(aggregator, leaves, **options)
        return states if isinstance(states, torch.Tensor) else (states[0], states[1] * 1.001)

    scan = _bench_scan.scan
    monkeypatch.setattr(_bench_scan, "scan", scan_off_by_little)
    with pytest.raises(RuntimeError, match=r"shifts of ours, relative error 1\.0e-03"):
        bench_scan(BenchScanConfig(**SMALL))


def test_peak_memory_counts_what_is_held_at_once():
    size = 4 * 1000

    def run():
        for _ in range(3):
            torch.empty(1000)
        return torch.empty(1000), torch.empty(1000)

    assert peak_bytes(run) == pytest.approx(2 * size, abs=256)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"repeats": 0}, "at least 1, got 0, 1, 1 and 64"),
        ({"block": 0}, "at least 1, got 1, 1, 1 and 0"),
        ({"length": 1}, "length must be at least 2"),
        ({"shapes": ((0, 1, 1),)}, "every .* positive"),
        ({"sample_seconds": float("inf")}, "sample_seconds must be finite and at least 0, got inf"),
        ({"heads": 3}, "multiple of heads, got width=8 and heads=3"),
    ],
)
def test_nonsense_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        BenchScanConfig(**SMALL | change)
