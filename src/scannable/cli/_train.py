"""``scannable train words``: a run in a folder, made or taken up again."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from scannable.cli._terminal import GOOD, Terminal, duration, percent
from scannable.experiments import RECIPES
from scannable.models import AffineLanguageModelConfig
from scannable.models._affine import row_options
from scannable.training import Check, Event, Progress, RunConfig, train
from scannable.training._device import available
from scannable.training._folder import claim

Architecture = Literal["transformer-psm", "decoder", "affine"]


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
    config: Annotated[RunConfig, tyro.conf.arg(name="")] = RECIPES["transformer-psm"]


def parse(kind: type[Options], *, args: list[str], config: tuple[Any, ...], **settings: Any) -> Options:
    """Read the options, those of the chosen model and of its row among them."""
    recipe = RECIPES.get(_given(args, "--model") or "", RECIPES["transformer-psm"])
    if isinstance(recipe.model, AffineLanguageModelConfig):
        recipe = replace(recipe, model=_with_row(recipe.model, _given(args, "--model.row")))
    options = tyro.cli(
        kind,
        args=args,
        default=Options(config=recipe),
        config=(*config, tyro.conf.AvoidSubcommands),
        **settings,
    )
    return replace(options, config=_less_defaults(options.config))


def run(options: Options, terminal: Terminal) -> bool:
    """Train, and say how it goes."""
    config = options.config
    name = config.model.row if isinstance(config.model, AffineLanguageModelConfig) else options.architecture
    folder = options.folder or Path("runs") / f"{config.task.group}-{name}-{config.seed}"
    available(config.device)
    claim(folder, config)
    terminal.say(f"Training in [bold]{folder}[/]; Ctrl-C stops, the same command goes on.")
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
            if isinstance(event, Progress):
                line = (
                    f"length {event.length} · loss {event.loss:.3f} · {event.tokens_per_second:,.0f} tokens/s"
                )
                bar.update(row, completed=event.step, line=line)
                if not terminal.live:
                    terminal.say(f"step {event.step:,} of {event.steps:,} · {line}")
            else:
                terminal.say(_checked(event))

        result = train(config, folder, report=report)
        bar.update(row, completed=result.step)
    why = {
        "solved": "the longest length is solved",
        "steps": "all steps are made",
        "time": "the time is over",
    }
    terminal.record({"event": "result", **asdict(result), "folder": str(folder)})
    terminal.say(
        f"Over after {result.step:,} steps and {duration(result.seconds)}: {why[result.stopped]}; "
        f"at length {result.length} it is {f'[{GOOD}]solved[/]' if result.solved else 'not solved'}."
    )
    terminal.say(f"Next: [bold]scannable evaluate {folder}[/], [bold]scannable verify {folder}[/]")
    # A run that was to stop when solved has not done what was asked if it ended in another way.
    return result.solved or not config.curriculum.stop


def _checked(check: Check) -> str:
    verdict = f", [{GOOD}]solved[/]" if check.solved else ""
    return (
        f"step {check.step:,}: on fresh words of length {check.length}, {percent(check.final_error)} of last answers "
        f"and {percent(check.error)} of all are wrong{verdict}"
    )


def _given(args: list[str], name: str) -> str | None:
    """Find what an option is set to ahead of all else, since it decides which options there are."""
    for place, word in enumerate(args):
        found, _, value = word.partition("=")
        if found == name:
            return value or (args[place + 1] if place + 1 < len(args) else "")
    return None


def _with_row(model: AffineLanguageModelConfig, row: str | None) -> AffineLanguageModelConfig:
    """Choose a row, and spell out its options, so that each is listed with its default and read as its type."""
    row = model.row if row is None else row
    return replace(model, row=row, options=_defaults(row))


def _defaults(row: str) -> dict[str, Any]:
    """Return the row's defaults; those that depend on the width, and so are None, can only be set in Python."""
    known = {name: one for name, one in row_options(row).items() if one.default is not None}
    return {
        name: float(one.default) if one.annotation is float else one.default for name, one in known.items()
    }


def _less_defaults(config: RunConfig) -> RunConfig:
    """Keep the options that were changed, as a config made in Python would hold them."""
    model = config.model
    if not isinstance(model, AffineLanguageModelConfig):
        return config
    defaults = _defaults(model.row)
    changed = {name: value for name, value in model.options.items() if value != defaults.get(name)}
    return replace(config, model=replace(model, options=changed))
