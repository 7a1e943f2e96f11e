"""``scannable bench language``: how fast language models train, as a table of ratios."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from scannable.cli._benches import show
from scannable.cli._terminal import Terminal, size, table
from scannable.experiments import BenchLanguageConfig, bench_language


@dataclass(frozen=True, kw_only=True)
class Options:
    """Verify the compiled training step of every model, then time all of them in turn, beside a full-attention decoder
    of the same blocks. In bfloat16; minutes on a GPU, most of them spent on compiling.
    """  # noqa: D205

    json: bool = False
    """Print one JSON object and nothing else."""
    config: Annotated[BenchLanguageConfig, tyro.conf.arg(name="")] = field(
        default_factory=BenchLanguageConfig
    )


def run(options: Options, terminal: Terminal) -> bool:
    """Measure and print."""
    return show(bench_language, options.config, terminal, print_speeds)


def print_speeds(found: dict[str, Any], terminal: Terminal) -> None:
    """Print what the bench measured."""
    machine = found["machine"]
    terminal.say(f"[bold]{machine['gpu'] or machine['cpu']}[/], torch {machine['torch']}, bfloat16\n")
    drawn = table("model", "T", "tokens/s", "of the decoder's", "peak memory", "parameters")
    for row in found["rows"]:
        drawn.add_row(
            row["model"],
            f"{row['length']:,}",
            f"{row['tokens_per_second']:,.0f}",
            f"{row['ratio']:.2f}",
            size(row["peak_bytes"]),
            f"{row['parameters']:,}",
        )
    terminal.say(drawn)
