"""``scannable bench decode``: what a token costs to decode, beside a full-attention decoder, as tables."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from scannable.cli._benches import show
from scannable.cli._terminal import BAD, GOOD, Terminal, percent, size, table
from scannable.experiments import BenchDecodeConfig, bench_decode

FLAT = 1.05
"""How much slower the end of a stream may be than its beginning."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Verify steps in place, then time them: PSMs, a full-attention decoder at its best, and streams of one size.

    Models are made at full size with fresh weights, so this is for a GPU; on a CPU make them small.
    """

    json: bool = False
    """Print one JSON object and nothing else."""
    config: Annotated[BenchDecodeConfig, tyro.conf.arg(name="")] = field(default_factory=BenchDecodeConfig)


def run(options: Options, terminal: Terminal) -> bool:
    """Measure and print."""
    return show(bench_decode, options.config, terminal, _print)


def _print(found: dict[str, Any], terminal: Terminal) -> None:
    machine, config = found["machine"], found["config"]
    terminal.say(
        f"[bold]{machine['gpu'] or machine['cpu']}[/], torch {machine['torch']}, {config['dtype']}; "
        f"a copy moves {size(found['copy_bandwidth'])} a second\n"
    )
    drawn = table(
        "model", "batch", "context", "median, ms", "p99", "p99.9", "tokens/s", "state", "of bandwidth",
        "attention",
        title=f"{config['steps']:,} tokens each",
    )  # fmt: skip
    for row in found["rows"]:
        share = row.get("bandwidth_share")
        drawn.add_row(
            row["model"],
            str(row["batch"]),
            "any" if row["context"] is None else f"{row['context']:,}",
            *_times(row),
            "" if share is None else percent(share),
            row.get("attention", ""),
        )
    terminal.say(drawn)
    drawn = table(
        "model", "batch", "median, ms", "p99", "p99.9", "tokens/s", "state", "last thousand to first",
        title=f"\n{config['stream']:,} tokens in one stream, merges included",
    )  # fmt: skip
    for row in found["streams"]:
        good = GOOD if row["ratio"] <= FLAT else BAD
        drawn.add_row(row["model"], str(row["batch"]), *_times(row), f"[{good}]{row['ratio']:.3f}[/]")
    terminal.say(drawn)


def _times(row: dict[str, Any]) -> list[str]:
    times = [f"{1e3 * row[name]:.3g}" for name in ("median", "p99", "p999")]
    return [*times, f"{row['tokens_per_second']:,.0f}", size(row["state_bytes"])]
