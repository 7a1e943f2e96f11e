"""``scannable reproduce language``: a row of the table of language models, trained and measured."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from scannable.cli._terminal import Terminal, duration, percent, size, table
from scannable.experiments import LanguageConfig, language
from scannable.training import Event, Progress


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a language model of GPT-2's base size on text, and measure how well it predicts and what a token costs.

    About a quarter of an hour on a large GPU for 370 million tokens. Without --rate, three learning rates are tried
    first, in short runs. An interrupted call is taken up again.
    """

    folder: Annotated[Path, tyro.conf.arg(metavar="PATH")] = Path("runs/language")
    """Where the runs go, a folder each."""
    json: bool = False
    """Print one JSON object and nothing else."""
    config: Annotated[LanguageConfig, tyro.conf.arg(name="")] = field(default_factory=LanguageConfig)


def run(options: Options, terminal: Terminal) -> bool:
    """Train, measure and print."""
    terminal.say(f"Training in [bold]{options.folder}[/]; Ctrl-C stops, the same command goes on.")
    bar = terminal.progress(
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[line]}"),
        TimeRemainingColumn(),
    )
    with bar:
        row = bar.add_task("", total=None, line="")

        def report(what: str, event: Event) -> None:
            if isinstance(event, Progress):
                line = f"{what} · loss {event.loss:.3f} · {event.tokens_per_second:,.0f} tokens/s"
                bar.update(row, completed=event.step, total=event.steps, line=line)
                if not terminal.live:
                    terminal.say(f"step {event.step:,} of {event.steps:,} · {line}")

        found = language(options.config, options.folder, report)
    terminal.record(found)
    _print(found, terminal)
    return True


def _print(found: dict[str, Any], terminal: Terminal) -> None:
    for trial in found["trials"] or []:
        terminal.say(f"learning rate {trial['rate']:g}: loss {trial['loss']:.4f} on the valid part")
    training = found["training"]
    if training is None:
        return
    terminal.say(
        f"[bold]{found['row']}[/], seed {found['seed']}: {training['parameters']:,} parameters, "
        f"{training['tokens']:,} tokens in {duration(training['seconds'])}, "
        f"{training['tokens_per_second']:,.0f} tokens/s, {size(training['peak_bytes'])} at most\n"
    )
    drawn = table(
        "reading", "form", "precision", "perplexity", "95 %", "authors' subset", "bits a byte", "of a word",
        "merges", "read a merged state",
    )  # fmt: skip
    for row in found["scores"]:
        drawn.add_row(
            row["reading"],
            row["form"],
            row["precision"],
            f"{row['perplexity']:.3f}",
            "-" if row["interval"] is None else "{:.2f} to {:.2f}".format(*row["interval"]),
            "-" if row["authors_subset_perplexity"] is None else f"{row['authors_subset_perplexity']:.3f}",
            f"{row['bits_per_byte']:.4f}",
            "-" if row["word_perplexity"] is None else f"{row['word_perplexity']:.2f}",
            "-" if row["merges"] is None else f"{row['merges']:,}",
            percent(row["merged_share"]),
        )
    terminal.say(drawn)
    stream = found["stream"]
    if stream:
        times = " · ".join(f"{name} {1e3 * stream[name]:.3f} ms" for name in ("median", "p99", "p999"))
        terminal.say(
            f"{stream['tokens']:,} tokens in one stream: {times}; it keeps {size(stream['state_bytes'])}."
        )
