"""Which model is trained: the options of a chosen model, and of its row, on the command line."""

from dataclasses import replace
from typing import Any, Literal

import tyro

from scannable.models import AffineLanguageModelConfig
from scannable.models._affine import row_options
from scannable.training import RunConfig

Architecture = Literal["transformer-psm", "decoder", "affine"]


def parse_run(
    kind: Any, recipes: dict[str, Any], *, args: list[str], config: tuple[Any, ...], **settings: Any
) -> Any:
    """Read the options of a run, those of the chosen model and of its row among them."""
    recipe = recipes.get(given(args, "--model") or "", recipes["transformer-psm"])
    if isinstance(recipe.model, AffineLanguageModelConfig):
        recipe = replace(recipe, model=_with_row(recipe.model, given(args, "--model.row")))
    options = tyro.cli(
        kind,
        args=args,
        default=kind(config=recipe),
        config=(*config, tyro.conf.AvoidSubcommands),
        **settings,
    )
    return replace(options, config=_less_defaults(options.config))


def name_of(architecture: Architecture, config: RunConfig) -> str:
    """Return what a model is called in the name of a folder; an affine one is called by its row."""
    return config.model.row if isinstance(config.model, AffineLanguageModelConfig) else architecture


def given(args: list[str], name: str) -> str | None:
    """Find what an option is set to, the last time if more than once, since it decides which options there are."""
    last = None
    for place, word in enumerate(args):
        found, _, value = word.partition("=")
        if found == name:
            last = value or (args[place + 1] if place + 1 < len(args) else "")
    return last


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
