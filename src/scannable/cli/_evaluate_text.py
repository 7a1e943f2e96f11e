"""``scannable evaluate text``: how well a run predicts a text, in each reading and form."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import tyro
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.table import Table

from scannable.cli._target import open_text, own_text
from scannable.cli._terminal import Terminal, bold, percent, table
from scannable.data import Text, read_text
from scannable.experiments._measure import environment
from scannable.training import Form, Reading, Scores, TextRunConfig, score
from scannable.training._config import Precision
from scannable.training._device import available, named
from scannable.training._record import to_json

_DEFAULTS: dict[str, Any] = {
    name: parameter.default for name, parameter in inspect.signature(score).parameters.items()
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Score every token of a text but the first, each by the output after the token before it.

    Two rows are for models with chunks: "authors' subset" is the perplexity over the tokens that the authors of the
    Transformer-PSM score, all but the first of each chunk or window, so compare it only with itself; "read merged" is
    the share of tokens whose output read a state that a merge has gone into, those from the third chunk on.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder."""
    data: str | None = None
    """A file of text or ids; left out: the validation part of the run's own data."""
    length: int | None = None
    """Tokens in a window of the blocked reading; left out: as in training."""
    reading: Literal[Reading, "both"] = "blocked"
    """Cut the text every so many tokens, or carry the state through each article and reset it at its end."""
    form: Literal[Form, "both"] = _DEFAULTS["form"]
    """Read whole windows or articles at once, or carry a stream from piece to piece. A stream makes more merges for the
    same losses: it is ready for one token more than is scored."""
    limit: int | None = None
    """Score only so many tokens, the first; left out: all of them."""
    tokens: int = _DEFAULTS["tokens"]
    """How many tokens the model may be given at once, which bounds the memory; an article is always given whole."""
    device: str = "cpu"
    """Where to run, as torch names it."""
    precision: Precision = _DEFAULTS["precision"]
    """With bfloat16 the model runs under autocast."""
    json: bool = False
    """Print one JSON object and nothing else."""

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("length", "limit", "tokens")}
        wrong = {name: value for name, value in given.items() if value is not None and value < 1}
        if wrong:
            raise ValueError(f"{' and '.join(given)} must be at least 1, got {wrong}; raise what is below.")
        named(self.device)


def run(options: Options, terminal: Terminal) -> bool:
    """Score the text in each reading and form, and print two tables."""
    device = available(options.device)
    model, config = open_text(options.run)
    text = _text(options, config, terminal)
    length = options.length or config.text.length
    readings = get_args(Reading) if options.reading == "both" else (options.reading,)
    forms = get_args(Form) if options.form == "both" else (options.form,)
    model = model.to(device)
    bar = terminal.progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    scores: list[Scores] = []
    with bar:
        # Positions that are learned may end within an article, and are then refused before windows are read.
        for reading in reversed(readings):
            for form in forms:
                row = bar.add_task(f"{reading}, {form}", total=len(text.ids) - 1)
                scores.append(
                    score(
                        model,
                        text,
                        length=length,
                        reading=reading,
                        form=form,
                        tokens=options.tokens,
                        precision=options.precision,
                        progress=lambda done, _, row=row: bar.update(row, completed=done),
                    )
                )
    scores.sort(key=lambda one: readings.index(one.reading))
    differences = _differences(scores)
    terminal.record(
        {
            "run": options.run,
            "config": to_json(config),
            "machine": environment(),
            "data": options.data or config.text.data,
            "text": text.fingerprint,
            "tokenizer": text.tokenizer,
            "precision": options.precision,
            "device": options.device,
            "scores": [one.to_dict() for one in scores],
            "difference_of_ln_perplexity": differences,
        }
    )
    _say(options, text, scores, differences, terminal)
    return True


def _text(options: Options, config: TextRunConfig, terminal: Terminal) -> Text:
    if options.data is None:
        splits = own_text(options.run, config)
        text = splits.valid
        terminal.say(escape(f"The text: {splits.held_out or 'the validation part'}, held out in training."))
    else:
        text = read_text(options.data, config.text.tokenizer)
    # The first token is only read.
    return text if options.limit is None else text.beginning(options.limit + 1)


def _differences(scores: list[Scores]) -> dict[str, float]:
    """Return how far the two forms are apart, for each reading that was scored in both."""
    losses: dict[str, list[float]] = {}
    for one in scores:
        losses.setdefault(one.reading, []).append(one.loss)
    return {reading: abs(found[0] - found[1]) for reading, found in losses.items() if len(found) == 2}


def _say(
    options: Options, text: Text, scores: list[Scores], differences: dict[str, float], terminal: Terminal
) -> None:
    measures: dict[str, Callable[[Scores], str]] = {
        "form": lambda one: one.form,
        "perplexity": lambda one: _short(one.perplexity),
        "95 % interval": lambda one: "-" if one.interval is None else " to ".join(map(_short, one.interval)),
        "bits/byte": lambda one: _short(one.bits_per_byte),
        "word perplexity": lambda one: _short(one.word_perplexity),
        "authors' subset": lambda one: _short(one.authors_subset_perplexity),
        "merges": lambda one: "-" if one.merges is None else f"{one.merges:,}",
        "read merged": lambda one: percent(one.merged_share),
    }
    # A reading and a form a column: four at most, and so many fit.
    drawn = table("reading", *(one.reading for one in scores))
    for name, measure in measures.items():
        drawn.add_row(name, *map(measure, scores))
    read = "token" if scores[0].tokens == 1 else "tokens"
    articles = "article" if len(text.starts) == 1 else "articles"
    terminal.say(
        f"{bold(options.run)}, {scores[0].tokens:,} {read} ({text.tokenizer}) of {len(text.starts):,} {articles}, "
        f"{options.precision}"
    )
    terminal.say(drawn)
    for reading, difference in differences.items():
        terminal.say(f"{reading}: the two forms differ by {difference:.2g} in ln perplexity")
    terminal.say(_by_position(scores))


def _by_position(scores: list[Scores]) -> Table:
    """Draw the loss against the place in the window or article; the forms are alike, so one of them is shown."""
    shown = [one for one in scores if one.form == scores[0].form]
    places = sorted({(bucket.first, bucket.last) for one in shown for bucket in one.positions})
    columns = [column for one in shown for column in (f"{one.reading}: tokens", "nats a token")]
    drawn = table("place", *columns)
    for first, last in places:
        cells = []
        for one in shown:
            found = next((bucket for bucket in one.positions if bucket.first == first), None)
            cells += ["-", "-"] if found is None else [f"{found.tokens:,}", f"{found.loss:.4f}"]
        drawn.add_row(f"{first:,}-{last:,}", *cells)
    return drawn


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
