"""``scannable train text``: a language model in a folder, made or taken up again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from scannable.cli._architecture import Architecture, name_of, parse_run
from scannable.cli._follow import follow
from scannable.cli._terminal import Terminal, duration
from scannable.experiments import TEXT_RECIPES
from scannable.training import Event, Progress, TextCheck, TextRunConfig


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a language model on a file or folder of text or token ids, or on the Wikipedia articles in the package.

    A run is one folder. The same command again takes up an interrupted run, and leaves one that is over as it is. With
    `torchrun --nproc-per-node N -m scannable train text ...` N processes share every step.
    """

    architecture: Annotated[Architecture, tyro.conf.arg(name="model")] = "transformer-psm"
    """Which model; the options under --model.* are its own, and under --model.options.* those of an affine row."""
    folder: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Where the run goes; left out: runs/, and there text-MODEL-SEED, an affine model being called by its row."""
    json: bool = False
    """Print one JSON object a line and nothing else: what happens, and at last the result."""
    config: Annotated[TextRunConfig, tyro.conf.arg(name="")] = TEXT_RECIPES["transformer-psm"]


def parse(kind: type[Options], **settings: Any) -> Options:
    """Read the options, those of the chosen model among them."""
    return parse_run(kind, TEXT_RECIPES, **settings)


def run(options: Options, terminal: Terminal) -> bool:
    """Train, and say how it goes."""
    config = options.config
    folder = options.folder or Path("runs") / f"text-{name_of(options.architecture, config)}-{config.seed}"
    result = follow(config, folder, terminal, _describe)
    why = "all steps are made" if result.stopped == "steps" else "the time is over"
    terminal.say(f"Over after {result.step:,} steps and {duration(result.seconds)}: {why}.")
    terminal.say(
        f'Next: [bold]scannable generate {folder} "The"[/], [bold]scannable evaluate text {folder}[/]'
    )
    return True


def _describe(event: Event) -> str:
    match event:
        case Progress():
            return f"loss {event.loss:.3f} · {event.tokens_per_second:,.0f} tokens/s"
        case TextCheck():
            return (
                f"on {event.tokens:,} held-out tokens, perplexity {event.perplexity:,.2f} and "
                f"{event.bits_per_byte:.3f} bits a byte"
            )
        case _:
            raise AssertionError(event)
