"""The paper's experiments and the benches: each a function from a config to a JSON-able dictionary."""

from scannable.experiments._bench_affine import BenchAffineConfig, bench_affine
from scannable.experiments._bench_decode import bench_decode
from scannable.experiments._bench_decode_config import BenchDecodeConfig
from scannable.experiments._bench_language import BenchLanguageConfig, bench_language
from scannable.experiments._bench_scan import BenchScanConfig, bench_scan
from scannable.experiments._demo import RECIPES, DemoConfig, MeasureConfig, demo
from scannable.experiments._family import FamilyConfig, family_counts
from scannable.experiments._language import LanguageConfig, language
from scannable.experiments._language_rows import LANGUAGE_ROWS, LanguageRow
from scannable.experiments._language_table import collect
from scannable.experiments._s5 import S5Config, products, s5
from scannable.experiments._stages import Step
from scannable.experiments._text_recipes import TEXT_RECIPES
from scannable.viewer.reports._language_lines import LANGUAGE_PEERS, language_table

__all__ = [
    "LANGUAGE_PEERS",
    "LANGUAGE_ROWS",
    "RECIPES",
    "TEXT_RECIPES",
    "BenchAffineConfig",
    "BenchDecodeConfig",
    "BenchLanguageConfig",
    "BenchScanConfig",
    "DemoConfig",
    "FamilyConfig",
    "LanguageConfig",
    "LanguageRow",
    "MeasureConfig",
    "S5Config",
    "Step",
    "bench_affine",
    "bench_decode",
    "bench_language",
    "bench_scan",
    "collect",
    "demo",
    "family_counts",
    "language",
    "language_table",
    "products",
    "s5",
]
