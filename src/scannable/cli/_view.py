"""``scannable view``: the scan, a record, or a run from the inside, as a page, in the browser or in a file."""

import tempfile
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from scannable.cli._out import write_out
from scannable.cli._target import open_run
from scannable.cli._terminal import DIM, Terminal, bold
from scannable.data import tokenizer
from scannable.tasks import WordProblem
from scannable.training import WordRunConfig
from scannable.viewer import View, view
from scannable.viewer._record import RESULTS

WORDS = 33
"""Elements that are drawn where no prompt is given: enough for a tree of 32 leaves of one element."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Show a scan step by step: up and down the tree, and as a binary counter, with an operator of your choice. With
    a model as RUN, show what it makes of one input: each state of its tree, what it decodes to, what it cost. With
    measurements as RUN, such as demo/results.json, show their report; a trace in a file is shown too.

    The page needs no other file and no network; its address holds what it shows.
    """  # noqa: D205

    run: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None
    """A run's folder, or a packaged model such as s5; or a JSON file of ours, or a folder with results.json in it, of
    which the report is shown where there is no prompt. Left out: the scan itself."""
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
    made = _made(options.run, options.prompt, options.seed)
    path = options.out or Path(tempfile.mkdtemp(prefix="scannable-")) / "page.html"
    write_out("--out", path, made.html)
    terminal.record({"path": str(path.resolve())})
    terminal.say(f"The page is in {bold(path)}; it opens by a double click and needs nothing else.")
    if options.out is None and not options.json and not webbrowser.open(path.resolve().as_uri()):
        terminal.say(f"[{DIM}]No browser was found here; open that file in one.[/]")
    return True


def _made(run: str | None, prompt: str | None, seed: int) -> View:
    """Tell measurements from models."""
    is_file = run is not None and (Path(run).is_file() or Path(run).suffix == ".json")
    if prompt is not None and (run is None or is_file):
        raise ValueError(
            f"A prompt is for a model, got RUN={run or 'nothing'}; give a run's folder or a packaged model such as s5, "
            f"or leave --prompt out."
        )
    if run is None:
        return view()
    if is_file or (prompt is None and (Path(run) / RESULTS).is_file()):
        return view(Path(run))
    return _of_model(run, prompt, seed)


def _of_model(run: str, prompt: str | None, seed: int) -> View:
    """Let a model read the prompt, and show its tree."""
    measured = () if prompt is not None else ("a JSON file of ours", f"a folder with {RESULTS}")
    model, config = open_run(run, *measured)
    if isinstance(config, WordRunConfig):
        task = WordProblem(config.task)
        if prompt is None:
            tokens = task.batch(1, WORDS, torch.Generator().manual_seed(seed)).tokens[0]
        else:
            tokens = torch.tensor(_elements(prompt, task.vocabulary))
        return view(model, tokens, reads=task, title=run)
    reads = tokenizer(config.text.tokenizer)
    if not prompt:
        raise ValueError(
            f"A run on text needs something to read, got prompt={prompt!r}; give --prompt 'The ...'."
        )
    return view(model, torch.from_numpy(reads.encode(prompt).astype(np.int64)), reads=reads, title=run)


def _elements(prompt: str, order: int) -> list[int]:
    words = prompt.replace(",", " ").split()
    if not words or not all(word.isdecimal() and int(word) < order for word in words):
        raise ValueError(
            f"The prompt of a run on word problems must be numbers from 0 to {order - 1}, got {prompt!r}; write "
            f"such as --prompt '0 {order - 1}', 0 being the identity."
        )
    return [int(word) for word in words]
