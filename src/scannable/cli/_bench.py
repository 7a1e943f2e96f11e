"""``scannable bench scan``: our scan beside torch's own, as a table of ratios."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from scannable.cli._terminal import BAD, GOOD, Terminal, complain, percent, size, table
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
    try:
        found = terminal.busy(lambda say: bench_scan(options.config, progress=say))
    except RuntimeError as error:
        complain(str(error))
        return False
    terminal.record(found)
    _print(found, terminal)
    return True


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
            _shape(row),
            *(f"{1e3 * row[name]:.3g}" for name in ("seconds", "recompute_seconds", "their_seconds")),
            *(_ratio(row[name], row[name] >= 1) for name in ("speedup", "recompute_speedup")),
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
            _shape(row),
            *(size(row[name]) for name in peaks),
            *(_ratio(row[name], row[name] <= 1) for name in ("ratio", "recompute_ratio", "blocks_ratio")),
            f"{row['blocks_speedup']:.2f}",
        )
    terminal.say(drawn)


def _shape(row: dict[str, Any]) -> str:
    return "(" + ", ".join(f"{n:,}" for n in row["shape"]) + ")"


def _ratio(value: float, good: bool) -> str:
    return f"[{GOOD if good else BAD}]{value:.2f}[/]"
