"""The last section of every report: what it was measured with, and how to measure it again."""

import json
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any

from scannable.viewer.parts._page import folded, heading, listing, table

PAPER = "The model is that of Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918."


def origin(
    commands: str, machines: Sequence[Mapping[str, Any]], config: Any, more: Sequence[tuple[str, str]] = ()
) -> list[str]:
    """Say where figures are from.

    Args:
        commands: What makes them again.
        machines: What they were measured on; a column for each that differs.
        config: What was asked for, as JSON takes it.
        more: Further lines of the table, of all machines alike.
    """
    apart = list({json.dumps(machine, sort_keys=True): machine for machine in machines}.values())
    names = list(dict.fromkeys(name for machine in apart for name in machine))
    rows = [[name, *(_known(machine.get(name)) for machine in apart)] for name in names]
    rows += [[name, *[value] * len(apart)] for name, value in more]
    columns = ["property", *(f"machine {number}" for number in range(1, len(apart) + 1))]
    return [
        heading(
            "How this page was made",
            "All figures were measured by the commands below, and drawn from their record.",
        ),
        listing(commands),
        table("Where", columns, rows),
        folded("The whole configuration", listing(json.dumps(config, indent=1))),
        f'<p class="soft">{PAPER}</p>',
    ]


def flags(given: Mapping[str, Any]) -> str:
    """Write settings as options of a command; what is None is left out."""
    return " ".join(
        " ".join([f"--{name.replace('_', '-')}", *(quote(str(one)) for one in _each(value))])
        for name, value in given.items()
        if value is not None
    )


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _known(value: Any) -> str:
    return "none" if value is None else str(value)
