"""A run, followed: a live bar for a person, a line now and then where nothing may be drawn over, JSON for a program."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from scannable.cli._terminal import Terminal, bold
from scannable.training import AnyRunConfig, Event, Progress, Result, train
from scannable.training._device import available


def follow(
    config: AnyRunConfig, folder: Path, terminal: Terminal, describe: Callable[[Event], str]
) -> Result:
    """Train, and say how it goes in the words of ``describe``."""
    available(config.device)
    terminal.say(f"Training in {bold(folder)}; Ctrl-C stops, the same command goes on.")
    bar = terminal.progress(
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[line]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with bar:
        row = bar.add_task("", total=config.steps, line="")

        def report(event: Event) -> None:
            terminal.record({"event": type(event).__name__.lower(), **asdict(event)})
            line = describe(event)
            if isinstance(event, Progress):
                bar.update(row, completed=event.step, line=line)
                if not terminal.live:
                    terminal.say(f"step {event.step:,} of {event.steps:,} · {line}")
            else:
                terminal.say(f"step {event.step:,}: {line}")

        result = train(config, folder, report=report, about=lambda words: terminal.say(escape(words)))
        bar.update(row, completed=result.step)
    terminal.record({"event": "result", **asdict(result), "folder": str(folder)})
    return result
