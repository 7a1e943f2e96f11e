"""``scannable bench scan``: our scan beside torch's own, as a table of ratios."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from scannable.cli._benches import ratio, shape, show
from scannable.cli._terminal import Terminal, percent, size, table
from scannable.experiments import BenchScanConfig, bench_scan


@dataclass(frozen=True, kw_only=True)
class Options:
    """Verify the scan, then time it: beside the bare calls of an attention aggregator, and against torch's own scan.

    Ours and the peer run in turn in one process, so a ratio means something even on a busy machine.
    """

    json: bool = False
    """Print one JSON object and nothing else."""
    config: Annotated[BenchScanConfig, tyro.conf.arg(name="")] = field(default_factory=BenchScanConfig)


def run(options: Options, terminal: Terminal) -> bool:
    """Measure and print."""
    return show(bench_scan, options.config, terminal, _print)


def _print(found: dict[str, Any], terminal: Terminal) -> None:
    machine, overhead = found["machine"], found["overhead"]
    terminal.say(
        f"[bold]{machine['cpu']}[/], {machine['threads']} threads, torch {machine['torch']}, float32, "
        f"medians of {found['config']['repeats']}\n"
    )
    terminal.say(
        f"A scan of {overhead['shape'][1]:,} chunks with a free combine costs [bold]{percent(overhead['overhead'])}[/] "
        f"of what the bare calls of a {found['config']['layers']}-layer attention aggregator cost "
        f"({1e3 * overhead['scan_seconds']:.2f} ms of {1e3 * overhead['bare_seconds']:.0f} ms).\n"
    )
    drawn = table(
        "(B, N, D)", "ours, ms", "recomputed, ms", "associative_scan, ms", "times faster", "recomputed",
        title="a x + b, forward and backward",
    )  # fmt: skip
    for row in found["against"]:
        drawn.add_row(
            shape(row["shape"]),
            *(f"{1e3 * row[name]:.3g}" for name in ("seconds", "recompute_seconds", "their_seconds")),
            *(ratio(row[name], row[name] >= 1) for name in ("speedup", "recompute_speedup")),
        )
    terminal.say(drawn)
    drawn = table(
        "(B, N, D)", "ours", "recomputed", "in blocks", "associative_scan", "part of its peak", "recomputed",
        "in blocks", "times faster",
        title=f"\npeak memory, and the speed in blocks of {found['config']['block']}",
    )  # fmt: skip
    for row in found["memory"]:
        peaks = "peak_bytes", "recompute_peak_bytes", "blocks_peak_bytes", "their_peak_bytes"
        drawn.add_row(
            shape(row["shape"]),
            *(size(row[name]) for name in peaks),
            *(ratio(row[name], row[name] <= 1) for name in ("ratio", "recompute_ratio", "blocks_ratio")),
            f"{row['blocks_speedup']:.2f}",
        )
    terminal.say(drawn)
