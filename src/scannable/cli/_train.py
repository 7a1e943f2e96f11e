"""``scannable train words``: a run in a folder, made or taken up again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from scannable.cli._architecture import Architecture, name_of, parse_run
from scannable.cli._follow import follow
from scannable.cli._terminal import GOOD, Terminal, command, duration, percent
from scannable.experiments import RECIPES
from scannable.training import Check, Event, Progress, WordRunConfig


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a model to say, after each of a row of permutations, what their product is so far.

    A run is one folder. The same command again takes up an interrupted run, and leaves one that is over as it is.
    """

    architecture: Annotated[Architecture, tyro.conf.arg(name="model")] = "transformer-psm"
    """Which model; the options under --model.* are its own, and under --model.options.* those of an affine row."""
    folder: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Where the run goes; left out: runs/, and there GROUP-MODEL-SEED, an affine model being called by its row."""
    json: bool = False
    """Print one JSON object a line and nothing else: what happens, and at last the result."""
    config: Annotated[WordRunConfig, tyro.conf.arg(name="")] = RECIPES["transformer-psm"]


def parse(kind: type[Options], **settings: Any) -> Options:
    """Read the options, those of the chosen model among them."""
    return parse_run(kind, RECIPES, **settings)


def run(options: Options, terminal: Terminal) -> bool:
    """Train, and say how it goes."""
    config = options.config
    name = f"{config.task.group}-{name_of(options.architecture, config)}-{config.seed}"
    folder = options.folder or Path("runs") / name
    result = follow(config, folder, terminal, _describe)
    why = {
        "solved": "the longest length is solved",
        "steps": "all steps are made",
        "time": "the time is over",
    }
    terminal.say(
        f"Over after {result.step:,} steps and {duration(result.seconds)}: {why[result.stopped]}; "
        f"at length {result.length} it is {f'[{GOOD}]solved[/]' if result.solved else 'not solved'}."
    )
    terminal.say(
        f"Next: {command('scannable', 'evaluate', folder)}, {command('scannable', 'verify', folder)}"
    )
    # A run that was to stop when solved has not done what was asked if it ended in another way.
    return result.solved or not config.curriculum.stop


def _describe(event: Event) -> str:
    match event:
        case Progress():
            return f"length {event.length} · loss {event.loss:.3f} · {event.tokens_per_second:,.0f} tokens/s"
        case Check():
            verdict = f", [{GOOD}]solved[/]" if event.solved else ""
            return (
                f"on fresh words of length {event.length}, {percent(event.final_error)} of last answers "
                f"and {percent(event.error)} of all are wrong{verdict}"
            )
        case _:
            raise AssertionError(event)
