"""``scannable train text``: a language model in a folder, made or taken up again."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from scannable.cli._architecture import Architecture, given, name_of, parse_run
from scannable.cli._follow import follow
from scannable.cli._terminal import Terminal, command, duration
from scannable.experiments import TEXT_RECIPES
from scannable.models import TransformerPSMConfig
from scannable.training import Event, Progress, TextCheck, TextConfig, TextRunConfig
from scannable.viewer.parts._written import fixed


@dataclass(frozen=True, kw_only=True)
class _RunConfig(TextRunConfig):
    """A run whose text is asked for by ``--data``, without a prefix."""

    text: Annotated[TextConfig, tyro.conf.arg(name="")] = field(default_factory=TextConfig)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a language model on a file or folder of text or token ids, or on the Wikipedia articles in the package.

    A run is one folder. The same command again takes up an interrupted run, and leaves one that is over as it is. With
    `torchrun --nproc-per-node N -m scannable train text ...` N processes share every step. The warm-up, if it is not
    given, is at most a twentieth of --steps.
    """

    architecture: Annotated[Architecture, tyro.conf.arg(name="model")] = "transformer-psm"
    """Which model; the options under --model.* are its own, and under --model.options.* those of an affine row."""
    folder: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Where the run goes; left out: runs/, and there text-MODEL-SEED, an affine model being called by its row."""
    json: bool = False
    """Print one JSON object a line and nothing else: what happens, and at last the result."""
    config: Annotated[_RunConfig, tyro.conf.arg(name="")]


def parse(kind: type[Options], **settings: Any) -> Options:
    """Read the options, those of the chosen model among them."""
    steps = given(settings["args"], "--steps") or ""
    recipes = {name: _RunConfig(**vars(_shortened(one, steps))) for name, one in TEXT_RECIPES.items()}
    return parse_run(kind, recipes, **settings)


def _shortened(recipe: TextRunConfig, steps: str) -> TextRunConfig:
    """Let the warm-up be a small part of so many steps; what is no number is refused when it is read."""
    try:
        warmup = min(recipe.optimiser.warmup, max(1, int(steps) // 20))
    except ValueError:
        return recipe
    return replace(recipe, optimiser=replace(recipe.optimiser, warmup=warmup))


def run(options: Options, terminal: Terminal) -> bool:
    """Train, and say how it goes."""
    config = TextRunConfig(**vars(options.config))
    folder = options.folder or Path("runs") / f"text-{name_of(options.architecture, config)}-{config.seed}"
    model, length = config.model, config.text.length
    if isinstance(model, TransformerPSMConfig) and length <= 2 * model.chunk:
        terminal.say(
            f"No merge will be trained: a window of {length} tokens has at most two chunks of {model.chunk}, and a "
            f"merge is first read by the third; lower --model.chunk or raise --length."
        )
    result = follow(config, folder, terminal, _describe)
    why = "all steps are made" if result.stopped == "steps" else "the time is over"
    terminal.say(f"Over after {result.step:,} steps and {duration(result.seconds)}: {why}.")
    terminal.say(
        f"Next: {command('scannable', 'generate', folder, 'The')}, {command('scannable', 'evaluate', 'text', folder)}"
    )
    return True


def _describe(event: Event) -> str:
    match event:
        case Progress():
            return f"loss {event.loss:.3f} · {event.tokens_per_second:,.0f} tokens/s"
        case TextCheck():
            return (
                f"on {event.tokens:,} held-out tokens, perplexity {fixed(event.perplexity, 2)} and "
                f"{event.bits_per_byte:.3f} bits a byte"
            )
        case _:
            raise AssertionError(event)
