"""Records with a page: the committed ones, and made up ones of language models, of one and of several."""

import json
import math
from pathlib import Path
from typing import Any

from scannable.viewer._record import PAGES

MACHINE = {"cpu": "a", "cores": 2, "threads": 1, "gpu": None, "system": "Linux", "python": "3", "torch": "2"}


def score(loss: float, length: int = 512, chunk: int | None = 64, **way: str) -> dict[str, Any]:
    """The figures of one reading."""
    places = [(64 << k >> 1 if k else 0, (64 << k) - 1) for k in range(int(math.log2(length / 64)) + 1)]
    return {
        **{"reading": "blocked", "form": "parallel", "precision": "float32"} | way,
        "length": length,
        "chunk": chunk,
        "tokens": 247_288,
        "bytes": 1_121_681,
        "words": 217_646,
        "loss": loss,
        "perplexity": math.exp(loss),
        "bits_per_byte": loss / 3.1,
        "word_perplexity": math.exp(1.2 * loss),
        "authors_subset_perplexity": chunk and math.exp(loss) - 0.31,
        "interval": [math.exp(loss) - 1.27, math.exp(loss) + 1.33],
        "merges": chunk and 3861,
        "merged_share": chunk and max(0.0, 1 - 2 * chunk / length),
        "positions": [
            {"first": first, "last": last, "tokens": last - first + 1, "loss": loss + 0.4 - 0.15 * k}
            for k, (first, last) in enumerate(places)
        ],
        "seconds": 12.5,
    }


def row(name: str = "paper-64", seed: int = 0, loss: float = 3.31, **fields: Any) -> dict[str, Any]:
    """The record of a row that was tried, trained, scored and streamed."""
    length, chunk = fields.pop("length", 512), fields.pop("chunk", 64)
    ways = [
        {"form": form, "precision": p} for p in ("float32", "bfloat16") for form in ("parallel", "streaming")
    ]
    config = {
        "row": name,
        "data": "text",
        "test": "wiki.raw",
        "seed": seed,
        "rate": None,
        "trial_tokens": 20_000_000,
        "tokens": 370_000_000,
        "parts": 1,
        "device": "cuda",
        "compile": True,
    }
    return {
        "format": 1,
        "kind": "language",
        "row": name,
        "seed": seed,
        "rate": 1.2e-3,
        "trials": [{"rate": rate, "loss": 5.71 - 100 * rate} for rate in (3e-4, 6e-4, 1.2e-3)],
        "training": {
            "steps": 5646,
            "tokens": 370_016_256,
            "seconds": 1012.3,
            "processes": 1,
            "tokens_per_second": 366_112.7,
            "peak_bytes": 57_912_334_336,
            "parameters": 130_742_784,
            "losses": [[step, 3.2 + 200 / (step + 30)] for step in range(28, 5646, 28)],
            "valid_losses": [[step, 3.3 + 180 / (step + 30)] for step in range(705, 5646, 705)],
        },
        "scores": [
            *(score(loss + 1e-7 * k, length, chunk, **way) for k, way in enumerate(ways)),
            score(loss - 0.1, length, chunk, reading="carried"),
        ],
        "stream": {
            "tokens": 40_000,
            "after": 64,
            "median": 0.001234,
            "p99": 0.00156,
            "p999": 0.00201,
            "mean": 0.00125,
            "first": 0.00121,
            "last": 0.00127,
            "ratio": 1.05,
            "state_bytes": 19_365_888,
        },
        "machine": MACHINE,
        "config": config,
        **fields,
    }


def several() -> dict[str, Any]:
    """The record of a table: two lengths, seeds, a row that was only tried, a stream and speeds."""
    chunks = [("paper-64", 64, 0), ("paper-64", 64, 1), ("paper-256", 256, 0), ("cross-256", 256, 0)]
    rows = [row(name, seed, 3.31 + 0.01 * seed - 0.0002 * chunk, chunk=chunk) for name, chunk, seed in chunks]
    names = ("decoder", "decoder-13", "window-128", "gpt2", "mamba2", "gla")
    rows += [row(name, 0, 3.19 + 0.03 * k, chunk=None) for k, name in enumerate(names)]
    rows += [row("paper-64-8k", 0, 3.16, length=8192), row("decoder-8k", 0, 3.07, length=8192, chunk=None)]
    other = {"training": None, "scores": None, "stream": None}
    return {
        "format": 1,
        "kind": "language-table",
        "rows": rows,
        "trials": [row("cross-256-8k", **other)],
        "streams": [row("decoder", trials=None, training=None, scores=None)],
        "speeds": [
            {
                "bench": "language",
                "config": {"tokens": 65_536, "lengths": [512]},
                "machine": MACHINE | {"gpu": "NVIDIA H200"},
                "rows": [
                    {
                        "model": "decoder",
                        "length": 512,
                        "tokens_per_second": 531_036.4,
                        "ratio": 1.0,
                        "samples": [537_562.1, 530_027.3, 531_036.4],
                        "peak_bytes": 33_291_213_824,
                        "parameters": 123_653_376,
                        "setup_seconds": 27.1,
                        "error": 0.0019,
                    }
                ],
            }
        ],
    }


RESULTS = Path(__file__).parents[2] / "docs" / "results"
COMMITTED = {
    path.stem: record
    for path in sorted(RESULTS.glob("*.json"))
    if (record := json.loads(path.read_text(encoding="utf-8"))).get("kind") in PAGES
}
MADE_UP = {"a row": row(), "a table": several()}
