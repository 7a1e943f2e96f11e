"""The paper's experiments and the benches: each a function from a config to a JSON-able dictionary."""

from scannable.experiments._bench_scan import BenchScanConfig, bench_scan

__all__ = ["BenchScanConfig", "bench_scan"]
