"""``scannable reproduce s5``: train the packaged model again, and what it needs each of its parts for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from scannable.cli._terminal import BAD, GOOD, Terminal, bold, percent, table
from scannable.experiments import S5Config, s5
from scannable.experiments._results import REPORT
from scannable.training import Event, Progress


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train the packaged S5 model on words of up to 18 permutations, try all products of two, and let it read a million
    tokens; then train it without each of its parts; write report.html and results.json.

    Minutes on a GPU. An interrupted call is taken up again. The exit code is 0 if the packaged recipe made no error.
    """  # noqa: D205

    folder: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Where the runs, the measurements and the report go; left out: runs/s5-SEED."""
    json: bool = False
    """Print one JSON object and nothing else."""
    config: Annotated[S5Config, tyro.conf.arg(name="")] = field(default_factory=S5Config)


def run(options: Options, terminal: Terminal) -> bool:
    """Train, measure and print."""
    folder = options.folder or Path("runs") / f"s5-{options.config.seed}"
    bar = terminal.progress(
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[line]}"),
        TimeRemainingColumn(),
    )
    with bar:
        row, begun = bar.add_task("", total=options.config.steps, line=""), False

        def report(variant: str, event: Event) -> None:
            nonlocal begun
            if not begun:
                begun = True
                terminal.say(f"Training in {bold(folder)}; Ctrl-C stops, the same command goes on.")
            if isinstance(event, Progress):
                bar.update(row, completed=event.step, line=f"{variant} · length {event.length}")

        found = s5(options.config, folder, report)
    terminal.record(found)
    drawn = table(
        "variant", "wrong products", "smallest margin", "wrong last answers at 18", "at 180", "at 1,800"
    )
    for variant in found["variants"]:
        products = variant["products"]
        errors = [percent(e["final_error"]) for e in variant["evaluations"] if e["form"] == "streaming"]
        drawn.add_row(
            variant["variant"], f"{products['wrong_merges']:,}", f"{products['margin']:.2f}", *errors
        )
    terminal.say(drawn)
    stream = found["variants"][0]["stream"]
    wrong = round(stream["error"] * stream["length"])
    terminal.say(
        f"One stream of {stream['length']:,} tokens: [{BAD if wrong else GOOD}]{wrong:,} errors[/], "
        f"{stream['stream_bytes']:,} bytes of state."
    )
    terminal.say(f"The report: {bold(folder / REPORT)}")
    return wrong == 0 and not found["variants"][0]["products"]["wrong_merges"]
