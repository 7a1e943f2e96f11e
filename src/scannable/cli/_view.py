"""``scannable view``: the scan, or a run from the inside, as a page, opened in the browser or written to a file."""

import tempfile
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from scannable.cli._target import open_run
from scannable.cli._terminal import DIM, Terminal
from scannable.data import tokenizer
from scannable.tasks import WordProblem
from scannable.training import WordRunConfig
from scannable.training._files import write_text
from scannable.viewer import View, trace, trace_page, view

WORDS = 33
"""Elements that are drawn where no prompt is given: enough for a tree of 32 leaves of one element."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Show a scan step by step: up and down the tree, and as a binary counter, with an operator of your choice. With
    RUN, show what such a model makes of one input: each state of its tree, what it decodes to, what it cost.

    The page needs no other file and no network; its address holds what it shows.
    """  # noqa: D205

    run: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None
    """A run's folder, or a packaged model such as s5; left out: the scan itself."""
    prompt: str | None = None
    """What the model reads: a text, or the numbers of group elements, such as "3 77 119"; left out: 33 such elements,
    drawn by seed."""
    seed: int = 0
    """Decides the elements that are drawn."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Where to write the page; left out, it is opened in the browser, from a temporary folder."""
    json: bool = False
    """Print one JSON object and nothing else; open nothing."""


def run(options: Options, terminal: Terminal) -> bool:
    """Write the page, say where it is, and open it where a person asked for no file."""
    made = view() if options.run is None else _of_run(options.run, options.prompt, options.seed)
    path = options.out or Path(tempfile.mkdtemp(prefix="scannable-")) / "scan.html"
    write_text(path, made.html)
    terminal.record({"path": str(path.resolve())})
    terminal.say(f"The page is in {path}; it opens by a double click and needs nothing else.")
    if options.out is None and not options.json and not webbrowser.open(path.resolve().as_uri()):
        terminal.say(f"[{DIM}]No browser was found here; open that file in one.[/]")
    return True


def _of_run(run: str, prompt: str | None, seed: int) -> View:
    """Let a run read the prompt, and show its tree."""
    model, config = open_run(run)
    if isinstance(config, WordRunConfig):
        task = WordProblem(config.task)
        if prompt is None:
            tokens = task.batch(1, WORDS, torch.Generator().manual_seed(seed)).tokens[0]
        else:
            tokens = torch.tensor(_elements(prompt, task.vocabulary))
        found = trace(model, tokens, reads=task, title=run)
    else:
        reads = tokenizer(config.text.tokenizer)
        if not prompt:
            raise ValueError(
                f"A run on text needs something to read, got prompt={prompt!r}; give --prompt 'The ...'."
            )
        found = trace(model, torch.from_numpy(reads.encode(prompt).astype(np.int64)), reads=reads, title=run)
    return View(html=trace_page(found))


def _elements(prompt: str, order: int) -> list[int]:
    words = prompt.replace(",", " ").split()
    if not words or not all(word.isdecimal() and int(word) < order for word in words):
        raise ValueError(
            f"The prompt of a run on word problems must be numbers from 0 to {order - 1}, got {prompt!r}; write "
            f"such as --prompt '0 {order - 1}', 0 being the identity."
        )
    return [int(word) for word in words]
