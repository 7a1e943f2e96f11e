"""Where a command speaks: to a person, in tables and live bars, or to a program, in JSON lines."""

import json
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, ProgressColumn
from rich.table import Table

from scannable.viewer.parts._written import written

GOOD, BAD, DIM = "green", "bold red", "dim"


@dataclass(frozen=True)
class Terminal:
    """What a command writes to; with ``json`` nothing but JSON reaches the standard output.

    Attributes:
        json: Whether a program reads.
        silent: Whether nobody does, since another process speaks for this one too.
        console: Where people read.
    """

    json: bool = False
    silent: bool = False
    console: Console = field(default_factory=lambda: _console())

    @property
    def live(self) -> bool:
        """Whether lines may be drawn over: a person sits at a terminal."""
        return not (self.json or self.silent) and self.console.is_terminal

    def record(self, value: Any) -> None:
        """Write one JSON object on a line of its own, for a program."""
        if self.json and not self.silent:
            print(json.dumps(value, allow_nan=False), flush=True)

    def say(self, *parts: Any, whole: bool = False) -> None:
        """Write text with rich's markup, or a table, for a person; lines that are to be copied, ``whole``."""
        if not (self.json or self.silent):
            self.console.print(*parts, soft_wrap=whole)

    def busy(self, work: Callable[[Callable[[str], None]], Any]) -> Any:
        """Do some work and show what it says it is at."""
        if not self.live:
            return work(self.say)
        with self.console.status("") as status:
            return work(status.update)

    def progress(self, *columns: ProgressColumn | str) -> Progress:
        """Make a live bar; where nothing may be drawn over, one that stays invisible."""
        return Progress(*columns, console=self.console, disable=not self.live, refresh_per_second=8)


def complain(message: str) -> None:
    """Write one sentence to the standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"[{BAD}]scannable:[/] {escape(message)}")


def table(*columns: str, title: str | None = None) -> Table:
    """Begin a table with its first column, of names that stay whole, to the left and numbers to the right."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        made.add_column(name, justify="right" if place else "left", no_wrap=not place, overflow="fold")
    return made


def listing(rows: Iterable[tuple[str, str]]) -> Table:
    """List what things are called, bold, and beside it what they are, as narrow as it has to be."""
    made = Table.grid(padding=(0, 2), collapse_padding=True, pad_edge=True)
    made.add_column(no_wrap=True, style="bold")
    made.add_column()
    for name, what in rows:
        made.add_row(escape(name), escape(what))
    return made


def bold(words: Any) -> str:
    """Mark words up to be bold, and to stay as they are: a path may hold what rich takes for markup."""
    return f"[bold]{escape(str(words))}[/]"


def command(*words: Any) -> str:
    """Mark a command up that can be copied into a shell."""
    return bold(shlex.join(map(str, words)))


def percent(fraction: int | float | None) -> str:
    """Write a fraction as a percentage with as many digits as it needs."""
    return written(fraction, "percent")


def size(count: int | float | None) -> str:
    """Write a number of bytes."""
    return written(count, "bytes")


def duration(seconds: int | float) -> str:
    """Write a span of time."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def _console() -> Console:
    width = None if sys.stdout.isatty() else 120
    return Console(width=width, highlight=False)
