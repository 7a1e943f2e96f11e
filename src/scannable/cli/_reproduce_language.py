"""``scannable reproduce language``: a row of the table of language models, trained and measured."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from scannable.cli._bench_language import print_speeds
from scannable.cli._out import write_out
from scannable.cli._terminal import Terminal, bold, duration, percent, size, table
from scannable.experiments import LANGUAGE_PEERS, LanguageConfig, collect, language, language_table
from scannable.experiments._results import REPORT
from scannable.training import Event, Progress
from scannable.viewer import record_page
from scannable.viewer.parts._written import between, fixed


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a language model of GPT-2's base size on text, measure how well it predicts and what a token costs, and
    write report.html and results.json.

    About a quarter of an hour on a large GPU for 370 million tokens. Without --rate, three learning rates are tried
    first, in short runs. An interrupted call is taken up again. With --collect, the results of such calls are put
    together, and nothing is trained.
    """  # noqa: D205

    folder: Annotated[Path, tyro.conf.arg(metavar="PATH")] = Path("runs/language")
    """Where the runs go, a folder each; the report is in that of the run."""
    json: bool = False
    """Print one JSON object and nothing else."""
    collect: Annotated[tuple[Path, ...] | None, tyro.conf.arg(metavar="PATH [PATH ...]")] = None
    """Files that hold what single calls printed with --json, or their results.json, or such tables, to be shown as
    tables; speeds from scannable bench language too."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """With --collect: where to write a page of the whole table."""
    config: Annotated[LanguageConfig, tyro.conf.arg(name="")] = field(default_factory=LanguageConfig)

    def __post_init__(self) -> None:
        if self.collect == ():
            raise ValueError(
                "--collect puts files together, got none; name them, or leave --collect out to train."
            )
        if self.out and self.collect is None:
            raise ValueError(
                f"--out is where --collect writes its page, got --out {self.out} alone; leave it out, or give files."
            )


def run(options: Options, terminal: Terminal) -> bool:
    """Train, measure and print; or print what was measured."""
    if options.collect:
        return _collect(options.collect, options.out, terminal)
    terminal.say(f"Training in {bold(options.folder)}; Ctrl-C stops, the same command goes on.")
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
    if found is None:
        return True
    terminal.record(found)
    _print(found, terminal)
    terminal.say(f"The report: {bold(options.folder / options.config.name / REPORT)}")
    return True


def _collect(paths: tuple[Path, ...], out: Path | None, terminal: Terminal) -> bool:
    """Put records together, and show them as tables, as JSON, or as a page."""
    records = collect(paths)
    if out:
        write_out("--out", out, record_page(records))
    terminal.record(records)
    for length in LANGUAGE_PEERS:
        _print_table(language_table(records, length), length, terminal)
    for found in records["speeds"]:
        terminal.say("")
        print_speeds(found, terminal)
    if out:
        terminal.say(f"The page is in {bold(out)}; it opens by a double click and needs nothing else.")
    return True


def _print_table(lines: list[dict[str, Any]], length: int, terminal: Terminal) -> None:
    if not lines:
        return
    quality = table(
        "model", "seeds", "perplexity", "95 %", "of the decoder's", "authors' subset", "bits a byte", "of a word",
        "read a merged state", title=f"\nT = {length:,}",
    )  # fmt: skip
    cost = table(
        "model", "parameters", "processes", "tokens/s", "trained for", "peak memory", "state", "median, ms", "p99",
        "p99.9", title="\nwhat they cost",
    )  # fmt: skip
    for line in lines:
        quality.add_row(
            line["model"],
            str(len(line["seeds"])),
            *_figures(line),
            percent(line["merged_share"]),
        )
        stream = line["stream"]
        cost.add_row(
            line["model"],
            f"{line['parameters']:,}",
            str(line["processes"]),
            f"{line['tokens_per_second']:,.0f}",
            duration(line["seconds"]),
            size(line["peak_bytes"]),
            size(stream and stream["state_bytes"]),
            *(f"{1e3 * stream[name]:.3f}" if stream else "-" for name in ("median", "p99", "p999")),
        )
    terminal.say(quality)
    terminal.say(cost)


def _figures(found: dict[str, Any]) -> list[str]:
    """Write how well a text is predicted; the ratio to a decoder is a table's only."""
    ratio = [fixed(found["ratio"], 3)] if "ratio" in found else []
    return [
        fixed(found["perplexity"], 3),
        between(found["interval"], 2),
        *ratio,
        fixed(found["authors_subset_perplexity"], 3),
        fixed(found["bits_per_byte"], 4),
        fixed(found["word_perplexity"], 2),
    ]


def _print(found: dict[str, Any], terminal: Terminal) -> None:
    for trial in found["trials"] or []:
        terminal.say(f"learning rate {trial['rate']:g}: loss {fixed(trial['loss'], 4)} on the valid part")
    if found["training"]:
        _print_run(found, found["training"], terminal)
    if stream := found["stream"]:
        times = " · ".join(f"{name} {1e3 * stream[name]:.3f} ms" for name in ("median", "p99", "p999"))
        terminal.say(
            f"{stream['tokens']:,} tokens of one stream, after {stream['after']:,} others: {times}; at last it keeps "
            f"{size(stream['state_bytes'])}."
        )


def _print_run(found: dict[str, Any], training: dict[str, Any], terminal: Terminal) -> None:
    memory = "" if training["peak_bytes"] is None else f", {size(training['peak_bytes'])} at most"
    each = "" if training["processes"] == 1 else f" in each of {training['processes']} processes"
    terminal.say(
        f"[bold]{found['row']}[/], seed {found['seed']}: {training['parameters']:,} parameters, "
        f"{training['tokens']:,} tokens in {duration(training['seconds'])}, "
        f"{training['tokens_per_second']:,.0f} tokens/s{memory}{each}\n"
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
            *_figures(row),
            fixed(row["merges"], 0),
            percent(row["merged_share"]),
        )
    terminal.say(drawn)
