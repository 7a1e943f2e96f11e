"""``scannable view``: the scan as a page that one can step through, opened in the browser or written to a file."""

import tempfile
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from scannable.cli._terminal import DIM, Terminal
from scannable.training._files import write_text
from scannable.viewer import view


@dataclass(frozen=True, kw_only=True)
class Options:
    """Show a scan step by step: up and down the tree, and as a binary counter, with an operator of your choice.

    The page needs no other file and no network; its address holds the step that it shows.
    """

    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Where to write the page; left out, it is opened in the browser, from a temporary folder."""
    json: bool = False
    """Print one JSON object and nothing else; open nothing."""


def run(options: Options, terminal: Terminal) -> bool:
    """Write the page, say where it is, and open it where a person asked for no file."""
    path = options.out or Path(tempfile.mkdtemp(prefix="scannable-")) / "scan.html"
    write_text(path, view().html)
    terminal.record({"path": str(path.resolve())})
    terminal.say(f"The page is in {path}; it opens by a double click and needs nothing else.")
    if options.out is None and not options.json and not webbrowser.open(path.resolve().as_uri()):
        terminal.say(f"[{DIM}]No browser was found here; open that file in one.[/]")
    return True
