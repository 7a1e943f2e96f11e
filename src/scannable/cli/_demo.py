"""``scannable demo``: train, prove, compare, report."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from scannable.cli._terminal import BAD, GOOD, Terminal, bold, duration, percent, size, table
from scannable.experiments import DemoConfig, MeasureConfig, Step, demo
from scannable.experiments._results import REPORT


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a Transformer-PSM to multiply permutations, on the CPU and in minutes; check that its parallel and its
    streaming form are one function; compare it with a GPT-2-style decoder of its size at 1x, 10x and 100x the training
    length; write report.html and results.json.

    Ctrl-C stops; the same command goes on. The exit code is 0 if the model is right and proved.
    """  # noqa: D205

    folder: Path = Path("demo")
    """Where everything goes: the two runs, the measurements, and the report."""
    json: bool = False
    """Print one JSON object a line and nothing else: how far it is, and at last the results."""
    measure: Annotated[MeasureConfig, tyro.conf.arg(name="")] = field(default_factory=MeasureConfig)


def run(options: Options, terminal: Terminal) -> bool:
    """Do the demo of the packaged recipe."""
    return show(DemoConfig(measure=options.measure), options.folder, terminal)


def show(config: DemoConfig, folder: Path, terminal: Terminal) -> bool:
    """Do a demo, say how far it is, and print what came out."""
    terminal.say(f"The demo, in {bold(folder)}; Ctrl-C stops, the same command goes on.")
    bar = terminal.progress(
        BarColumn(bar_width=30), TaskProgressColumn(), TextColumn("{task.fields[line]}"), TimeElapsedColumn()
    )
    with bar:
        row, said = bar.add_task("", total=1.0, line=""), ""

        def report(step: Step) -> None:
            nonlocal said
            left = f"about {duration(step.left)} left" if step.left else ""
            bar.update(row, completed=step.done, line=" · ".join(filter(None, (_stage(step.what), left))))
            terminal.record({"event": "step", "what": step.what, "done": step.done, "left": step.left})
            if not terminal.live and _stage(step.what) != said:
                said = _stage(step.what)
                terminal.say(f"{step.done:4.0%} {said}{left and ', ' + left}")

        record = demo(config, folder, report)
    terminal.record({"event": "result", "report": str(folder / REPORT), **_summary(record)})
    _print(record, folder, terminal)
    return record["passed"]


def _stage(what: str) -> str:
    names = {
        "psm": "training the Transformer-PSM",
        "decoder": "training the decoder",
        "duality": "checking duality",
        "done": "done",
    }
    return names.get(what, "evaluating" if what.startswith("evaluation") else "measuring streams")


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    return {
        key: record[key] for key in ("passed", "right", "one_function", "final_errors", "seconds", "lengths")
    }


def _print(record: dict[str, Any], folder: Path, terminal: Terminal) -> None:
    kept = {(row["model"], row["form"], row["length"]): row for row in record["evaluations"]}
    lengths = record["lengths"]["compared"]
    drawn = table("wrong last answers", "parameters", *(f"at {n:,}" for n in lengths), "stream keeps")
    for model, name in (("psm", "Transformer-PSM"), ("decoder", "decoder")):
        for form in ("parallel", "streaming"):
            errors = [percent(kept[model, form, n]["final_error"]) for n in lengths]
            state = size(record["streams"][model][-1]["bytes"]) if form == "streaming" else ""
            drawn.add_row(f"{name}, {form}", f"{record['runs'][model]['parameters']:,}", *errors, state)
    terminal.say(drawn)
    one = f"[{GOOD}]one function[/]" if record["one_function"] else f"[{BAD}]NOT one function[/]"
    terminal.say(
        f"The two forms of the trained model are {one}; training took {duration(record['seconds']['psm'])}."
    )
    if not record["right"]:
        terminal.say(
            f"[{BAD}]At {lengths[-1]:,} tokens the Transformer-PSM must be wrong in at most "
            f"{percent(record['allowed'])} of last answers, and is wrong in more.[/]"
        )
    terminal.say(f"The report: {bold(folder / REPORT)}")
