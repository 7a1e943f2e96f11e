"""``scannable family``: the affine rows, as a table of formulas or of what they cost against length."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.markup import escape
from rich.table import Table

from scannable.affine import Row, family
from scannable.cli._out import check_place, write_out
from scannable.cli._terminal import BAD, DIM, GOOD, Terminal, size, table
from scannable.experiments import FamilyConfig, family_counts
from scannable.viewer import family_figure

WIDE = 140
"""From so many columns on, all of a row stands beside its name."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Show the recurrences s_t = E_t |> s_(t-1) + f_t that are rows of one template, and how each is read.

    States are (K, V), and E acts from the left. With --measure: what each costs against length, beside a
    Transformer-PSM and a decoder, counted in about a minute.
    """

    measure: bool = False
    """Count work, depth and memory instead."""
    figure: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Where to draw what was measured, as SVG."""
    json: bool = False
    """Print one JSON object and nothing else."""
    config: Annotated[FamilyConfig, tyro.conf.arg(name="")] = field(default_factory=FamilyConfig)

    def __post_init__(self) -> None:
        if self.figure is not None and not self.measure:
            raise ValueError(
                f"A figure shows what is measured, got figure={self.figure} alone; add --measure."
            )


def run(options: Options, terminal: Terminal) -> bool:
    """Print the table, or measure and print that."""
    if options.measure:
        return _measure(options, terminal)
    rows = family()
    terminal.record({"rows": [_record(row) for row in rows]})
    terminal.say(_across(rows) if terminal.console.width >= WIDE else _down(rows))
    return True


def _record(row: Row) -> dict[str, str]:
    names = "name", "title", "element", "shift", "read", "reference"
    return {name: getattr(row, name) for name in names} | {"action": _action(row)}


def _action(row: Row) -> str:
    return row.action.__name__.lower()


def _across(rows: tuple[Row, ...]) -> Table:
    """Draw a table with a line, or a few, for each row."""
    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 1, 0))
    drawn.add_column("name", no_wrap=True)
    drawn.add_column("action", no_wrap=True)
    for name, ratio in (("E_t", 4), ("f_t", 4), ("read-out", 4), ("reference", 3)):
        drawn.add_column(name, ratio=ratio)
    for row in rows:
        formulas = (_lines(part) for part in (row.element, row.shift, row.read))
        drawn.add_row(f"[bold]{row.name}[/]", _action(row), *formulas, escape(row.reference))
    return drawn


def _down(rows: tuple[Row, ...]) -> Table:
    """Draw the rows one below the other, each with a line for each of its parts."""
    drawn = Table(box=None, pad_edge=False, show_header=False)
    drawn.add_column(style=DIM, no_wrap=True, justify="right")
    drawn.add_column()
    for row in rows:
        drawn.add_row("", f"[bold]{row.name}[/]  {escape(row.title)}")
        parts = {"E_t": row.element, "f_t": row.shift, "read-out": row.read}
        for name, part in parts.items():
            drawn.add_row(name, _lines(part))
        drawn.add_row("action", _action(row))
        drawn.add_row("from", escape(row.reference), end_section=True)
        drawn.add_row()
    return drawn


def _lines(formula: str) -> str:
    """Put what a formula's letters mean on lines of their own."""
    return escape(formula.replace(",  ", "\n"))


def _measure(options: Options, terminal: Terminal) -> bool:
    if options.figure is not None:
        check_place("--figure", options.figure)
    if terminal.live:
        with terminal.console.status("") as status:
            found = family_counts(options.config, lambda name: status.update(f"counting {name}"))
    else:
        found = family_counts(options.config)
    if options.figure is not None:
        write_out("--figure", options.figure, family_figure(found))
    terminal.record(found)
    longest = options.config.lengths[-1]
    drawn = table(
        "model", "action", "work", f"operations at {longest:,}", "depth", "memory", f"stream at {longest:,}"
    )
    for entry in found["models"]:
        drawn.add_row(*_counted(entry))
    terminal.say(drawn)
    words = f"exponents of the length; depth: batched calls of a scan of {longest:,} tokens"
    terminal.say(f"\n[{DIM}]work, memory: fitted {words}.[/]")
    verdict = f"[{GOOD}]All counts are those of the theory.[/]"
    terminal.say(verdict if found["passed"] else f"[{BAD}]Some counts are not those of the theory.[/]")
    return found["passed"]


def _counted(entry: dict[str, Any]) -> list[str]:
    last, tone = entry["points"][-1], GOOD if entry["passed"] else BAD
    calls = "-" if last["calls"] is None else f"{last['calls']}"
    exponents = (f"[{tone}]{entry[cost]:.2f}[/]" for cost in ("work", "memory"))
    work, memory = exponents
    return [
        entry["name"], entry["action"] or "-", work, f"{last['operations']:,}", calls, memory, size(last["bytes"])
    ]  # fmt: skip
