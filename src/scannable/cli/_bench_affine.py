"""``scannable bench affine``: the affine family beside a loop, torch's own scan and mambapy, as tables of ratios."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from scannable.cli._benches import ratio, shape, show
from scannable.cli._terminal import Terminal, size, table
from scannable.experiments import BenchAffineConfig, bench_affine


@dataclass(frozen=True, kw_only=True)
class Options:
    """Verify the fast forms of the affine family, then time them: against a loop over time, torch's scan, and mambapy.

    Ours and the peers run in turn in one process, so a ratio means something even on a busy machine.
    """

    json: bool = False
    """Print one JSON object and nothing else."""
    config: Annotated[BenchAffineConfig, tyro.conf.arg(name="")] = field(default_factory=BenchAffineConfig)


def run(options: Options, terminal: Terminal) -> bool:
    """Measure and print."""
    return show(bench_affine, options.config, terminal, _print)


def _print(found: dict[str, Any], terminal: Terminal) -> None:
    machine = found["machine"]
    terminal.say(
        f"[bold]{machine['cpu']}[/], {machine['threads']} threads, torch {machine['torch']}, float32, "
        f"medians of {found['config']['repeats']}, forward and backward\n"
    )
    drawn = table(
        "decay", "erase", "chunkwise, ms", "loop, ms", "associative_scan, ms", "its tokens", "faster than the loop",
        "than the scan", title="(B, T, H, K, V) = " + shape(found["config"]["shape"]),
    )  # fmt: skip
    for row in found["recurrence"]:
        drawn.add_row(
            row["decay"],
            "yes" if row["erase"] else "no",
            *(f"{1e3 * row[name]:.3g}" for name in ("seconds", "loop_seconds", "scan_seconds")),
            f"{row['scan_length']:,}",
            ratio(row["loop_speedup"], row["loop_speedup"] >= 1),
            ratio(row["scan_speedup"], row["scan_speedup"] >= 1),
        )
    terminal.say(drawn)
    mamba = found["mamba"]
    if mamba is None:
        terminal.say("\nMamba's scan was not compared: mambapy is not installed (pip install mambapy).")
        return
    drawn = table(
        "(B, T, D, S)", "ours, ms", "mambapy, ms", "times faster", "peak", "mambapy's", "part of its peak",
        title="\nMamba's scan",
    )  # fmt: skip
    drawn.add_row(
        shape(mamba["shape"]),
        *(f"{1e3 * mamba[name]:.3g}" for name in ("seconds", "their_seconds")),
        ratio(mamba["speedup"], mamba["speedup"] >= 1),
        *(size(mamba[name]) for name in ("peak_bytes", "their_peak_bytes")),
        ratio(mamba["memory_ratio"], mamba["memory_ratio"] <= 1),
    )
    terminal.say(drawn)
