"""The half minute that decides who stays: a bracketed tree, then a model that reads without end and without error."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.progress import BarColumn, TextColumn
from rich.text import Text

from scannable.cli._brackets import Prefix, bracketings, check_text, tree_lines
from scannable.cli._terminal import BAD, GOOD, Terminal, size, table

COLOURS = ("bright_black", "cyan", "green", "yellow", "magenta", "red")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Bracket a short text by both forms of a scan, then let a trained model read a long word."""

    text: str = "prefix"
    """What to bracket: 1 to 12 characters."""
    model: str = "s5"
    """What reads: the name of a packaged model, or a run's folder."""
    tokens: int = 100_000
    """How many tokens are read in pieces."""
    steps: int = 300
    """How many tokens are read one by one after that."""
    seed: int = 0
    """Decides the tokens and the sizes of the pieces."""
    json: bool = False
    """Print one JSON object and nothing else."""

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.steps < 0:
            raise ValueError(
                f"tokens must be at least 1 and steps at least 0, got tokens={self.tokens} and steps={self.steps}."
            )
        check_text(self.text)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What is known after a piece was read."""

    tokens: int
    pieces: int
    steps: int
    errors: int
    seconds: float
    stream_bytes: int
    roots: int | None
    token: str
    answer: str


def run(options: Options, terminal: Terminal) -> bool:
    """Show both parts; return whether every bracket and every prediction was right."""
    prefixes = bracketings(options.text)
    _show_prefixes(prefixes, terminal)
    equal = all(prefix.equal for prefix in prefixes)
    reading = _show_reading(options, terminal)
    terminal.record(
        {
            "text": options.text,
            "prefixes": [asdict(prefix) | {"equal": prefix.equal} for prefix in prefixes],
            "model": options.model,
            **{name: value for name, value in asdict(reading).items() if name not in ("token", "answer")},
            "tokens_per_second": reading.tokens / max(reading.seconds, 1e-9),
            "passed": equal and reading.errors == 0,
        }
    )
    terminal.say(
        f"[{GOOD if equal else BAD}]{len(prefixes)} prefixes were bracketed by two forms, "
        f"{'equal bracket by bracket' if equal else 'AND DIFFER'}[/]; "
        f"[{BAD if reading.errors else GOOD}]{reading.tokens:,} tokens were read, {reading.errors:,} errors[/], "
        f"{size(reading.stream_bytes)} of state."
    )
    terminal.say(
        "[bold]scannable demo[/] trains such a model here, proves it and writes a report with curves."
    )
    terminal.say(
        "[bold]scannable verify my.py:MyAggregator[/] checks an operator of your own; scannable --help has more."
    )
    return equal and reading.errors == 0


def read(
    model: Any, tokens: torch.Tensor, names: tuple[str, ...], labels: torch.Tensor, options: Options
) -> Iterator[Reading]:
    """Read a word, first in pieces of random sizes and then token by token, and compare with the labels."""
    generator = torch.Generator().manual_seed(options.seed)
    stream, errors, place, pieces, steps, seconds = model.start(1), 0, 0, 0, 0, 0.0
    while place < tokens.shape[1]:
        left = options.tokens - place
        count = min(left, int(torch.randint(1, 4097, (), generator=generator))) if left > 0 else 1
        begun = time.perf_counter()
        logits, stream = model.prefill(stream, tokens[:, place : place + count], logits="all")
        answers = logits.argmax(-1)
        seconds += time.perf_counter() - begun
        errors += int((answers != labels[:, place : place + count]).sum())
        place, pieces, steps = place + count, pieces + (left > 0), steps + (left <= 0)
        counter = getattr(stream, "counter", None)
        yield Reading(
            tokens=place,
            pieces=pieces,
            steps=steps,
            errors=errors,
            seconds=seconds,
            stream_bytes=stream.nbytes,
            roots=counter and counter.count.bit_count(),
            token=names[int(tokens[0, place - 1])],
            answer=names[int(answers[0, -1])],
        )


def _show_prefixes(prefixes: list[Prefix], terminal: Terminal) -> None:
    whole = prefixes[-1].parallel
    terminal.say()
    for row, line in enumerate(tree_lines(whole)):
        terminal.say(Text("    " + line, style="bold" if row == 0 else COLOURS[min(row, len(COLOURS) - 1)]))
    terminal.say()
    drawn = table("  t", "binary", "over a tree, in parallel", "streamed by a counter", "", "roots it keeps")
    for column in (2, 3, 5):
        drawn.columns[column].justify = "left"
    for prefix in prefixes:
        drawn.add_row(
            f"{prefix.count:3}",
            f"{prefix.count:0{len(prefixes).bit_length()}b}",
            _coloured(prefix.parallel),
            _coloured(prefix.streaming),
            f"[{GOOD}]✓[/]" if prefix.equal else f"[{BAD}]✗[/]",
            Text(" · ").join(map(_coloured, prefix.roots)),
        )
    terminal.say(drawn)
    terminal.say()


def _coloured(bracketed: str) -> Text:
    """Give each pair of brackets the colour of its height in the tree."""
    heights, open_at = [0] * len(bracketed), []
    for place, character in enumerate(bracketed):
        if character == "(":
            open_at.append(place)
        elif character == ")":
            start = open_at.pop()
            heights[start] = heights[place] = 1 + max(heights[start:place])
    text = Text()
    for character, height in zip(bracketed, heights, strict=True):
        text.append(character, "bold" if height == 0 else COLOURS[min(height, len(COLOURS) - 1)])
    return text


def _show_reading(options: Options, terminal: Terminal) -> Reading:
    from scannable.cli._target import open_words
    from scannable.tasks import WordProblem

    model, config = open_words(options.model)
    task = WordProblem(config.task)
    count = sum(parameter.numel() for parameter in model.parameters())
    terminal.say(
        f"[bold]{options.model}[/]: {count:,} parameters, trained on words of up to {config.task.longest} "
        f"permutations from {config.task.group}. Now it reads {options.tokens:,} and names their product after each."
    )
    batch = task.batch(1, options.tokens + options.steps, torch.Generator().manual_seed(options.seed))
    bar = terminal.progress(
        BarColumn(bar_width=24), TextColumn("{task.fields[line]}"), TextColumn("[dim]{task.fields[last]}")
    )
    shown, before = 0.0, torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # Operations are small; on a busy machine more threads would wait for each other.
    with torch.no_grad(), bar:
        row = bar.add_task("", total=options.tokens + options.steps, line="", last="")
        for reading in read(model, batch.tokens, task.group.names, batch.targets, options):
            ends = reading.tokens == options.tokens or reading.tokens == options.tokens + options.steps
            last = f"{reading.token} → {reading.answer}" if reading.steps else ""
            bar.update(row, completed=reading.tokens, line=_line(reading), last=last)
            if not terminal.live and (ends or reading.seconds - shown > 5):
                shown = reading.seconds
                terminal.say("  " + _line(reading))
    torch.set_num_threads(before)
    return reading


def _line(reading: Reading) -> str:
    colour = BAD if reading.errors else GOOD
    how = f"{reading.steps} steps" if reading.steps else f"{reading.pieces} pieces"
    roots = f" in {reading.roots} roots" if reading.roots is not None else ""
    return (
        f"{reading.tokens:>7,} tokens, {how:>9} · [{colour}]{reading.errors:,} errors[/] · "
        f"{reading.tokens / max(reading.seconds, 1e-9):,.0f} tokens/s · {size(reading.stream_bytes)}{roots}"
    )
