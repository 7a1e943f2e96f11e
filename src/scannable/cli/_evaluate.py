"""``scannable evaluate``: how well and how fast a run is, length by length."""

import inspect
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import tyro
from rich.progress import SpinnerColumn, TextColumn

from scannable.cli._target import open_words
from scannable.cli._terminal import Terminal, bold, duration, percent, size, table
from scannable.tasks import WordProblem
from scannable.training import Form, evaluate
from scannable.training._device import available, named

_DEFAULTS: dict[str, Any] = {
    name: parameter.default for name, parameter in inspect.signature(evaluate).parameters.items()
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Score a trained model on fresh words with exact answers; both forms are given the same words."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder, or the name of a packaged model such as s5."""
    lengths: tuple[int, ...] = ()
    """Tokens in a word; left out: 1, 10 and 100 times the longest word of training."""
    form: Form = _DEFAULTS["form"]
    """Read whole words at once, or carry a stream from piece to piece."""
    sequences: int = _DEFAULTS["sequences"]
    """How many words of each length."""
    piece: int = _DEFAULTS["piece"]
    """Tokens in a piece of the streaming form; 1 goes token by token."""
    singles: int = _DEFAULTS["singles"]
    """Tokens that the streaming form reads step by step after each piece."""
    tokens: int = _DEFAULTS["tokens"]
    """How many tokens the model may be given at once, which bounds the memory."""
    seed: int = _DEFAULTS["seed"]
    """Decides the words."""
    device: str = "cpu"
    """Where to run, as torch names it."""
    json: bool = False
    """Print one JSON object and nothing else."""

    def __post_init__(self) -> None:
        if any(length < 1 for length in self.lengths):
            raise ValueError(f"Lengths must be at least 1, got {self.lengths}; leave out the others.")
        if min(self.sequences, self.piece, self.tokens) < 1 or self.singles < 0:
            raise ValueError(
                f"sequences, piece and tokens must be at least 1 and singles at least 0, got "
                f"sequences={self.sequences}, piece={self.piece}, tokens={self.tokens} and singles={self.singles}; "
                f"raise them."
            )
        named(self.device)


def run(options: Options, terminal: Terminal) -> bool:
    """Measure every length and print a table."""
    device = available(options.device)
    model, config = open_words(options.run)
    model = model.to(device)
    task = WordProblem(config.task)
    lengths = options.lengths or tuple(times * config.task.longest for times in (1, 10, 100))
    settings: dict[str, Any] = {
        name: getattr(options, name) for name in ("sequences", "form", "piece", "singles", "tokens", "seed")
    }
    bar, found = terminal.progress(SpinnerColumn(), TextColumn("{task.description}")), []
    with bar:
        row = bar.add_task("")
        for length in lengths:
            bar.update(row, description=f"reading {options.sequences:,} words of length {length:,}")
            found += evaluate(model, task, [length], **settings)
    terminal.record({"run": options.run, "form": options.form, "evaluations": [asdict(row) for row in found]})
    drawn = table(
        "length", "words", "wrong last answers", "wrong answers", "tokens/s", "time", "state of one stream"
    )
    for row in found:
        drawn.add_row(
            f"{row.length:,}",
            f"{row.sequences:,}",
            percent(row.final_error),
            percent(row.error),
            f"{row.tokens_per_second:,.0f}",
            duration(row.seconds),
            size(row.stream_bytes),
        )
    terminal.say(
        f"{bold(options.run)}, {config.task.group}, meant for lengths up to {config.task.longest} in training, "
        f"{options.form} form"
    )
    terminal.say(drawn)
    return True
