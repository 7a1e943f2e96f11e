"""The paper's experiments and the benches: each a function from a config to a JSON-able dictionary."""

from scannable.experiments._bench_affine import BenchAffineConfig, bench_affine
from scannable.experiments._bench_scan import BenchScanConfig, bench_scan
from scannable.experiments._demo import RECIPES, DemoConfig, MeasureConfig, demo
from scannable.experiments._family import FamilyConfig, family_counts, lifted
from scannable.experiments._s5 import S5Config, products, s5
from scannable.experiments._stages import Step

__all__ = [
    "RECIPES",
    "BenchAffineConfig",
    "BenchScanConfig",
    "DemoConfig",
    "FamilyConfig",
    "MeasureConfig",
    "S5Config",
    "Step",
    "bench_affine",
    "bench_scan",
    "demo",
    "family_counts",
    "lifted",
    "products",
    "s5",
]
