"""What the page of one language model and the page of their table share: charts, tables, and words."""

from collections.abc import Iterable, Sequence
from typing import Any

from scannable.viewer.parts._figure import Line, Point
from scannable.viewer.parts._page import figure, table
from scannable.viewer.parts._scale import Axis, around
from scannable.viewer.parts._written import Number, fixed, minutes, written
from scannable.viewer.reports._origin import flags

Record = dict[str, Any]

TICKS = 6


def by_place(title: str, lines: Sequence[Line], notes: Sequence[tuple[Number, str]] = ()) -> str:
    """Draw loss against the place in the window or the article."""
    ends = sorted({place for line in lines for place, _ in line.points})
    ticks = [(end, f"{end:,.0f}") for end in ends[:: -(-len(ends) // TICKS)]]
    across = Axis(title="place in what is read at once, up to", log=True, ticks=ticks)
    return figure(title, lines, across, _tight(lines), notes=notes)


def by_step(title: str, lines: Sequence[Line]) -> str:
    """Draw loss against the step of training."""
    return figure(title, lines, Axis(title="step"), _tight(lines))


def places(score: Record) -> list[Point]:
    """Return the mean loss of each bucket of places, at its end."""
    return [(bucket["last"] + 1, bucket["loss"]) for bucket in score["positions"]]


def steps(training: Record, which: str) -> list[Point]:
    """Return ``losses`` or ``valid_losses`` by the step of training."""
    return [(step, loss) for step, loss in training[which]]


def merged(score: Record) -> str:
    """Say what share of tokens read a merged state, and what that means."""
    share = score["merged_share"]
    if share is None:
        return "This model has no chunks, so nothing is merged."
    if share == 0:
        return "No token reads a state that a merge has gone into: these figures say nothing about the aggregator."
    return (
        f"{written(share, 'percent')} of the tokens read a state that a merge has gone into; the others stand in the "
        f"first two chunks and read none, or that of one chunk."
    )


def rates(records: Iterable[Record]) -> str:
    """Show what was tried as a learning rate; the loss is that on the valid part after a short run."""
    records = list(records)
    found = [{trial["rate"]: trial["loss"] for trial in record["trials"]} for record in records]
    tried = sorted({rate for losses in found for rate in losses})
    rows = [
        [
            record["row"],
            *((fixed(losses.get(rate), 4), "good" if rate == record["rate"] else "") for rate in tried),
            f"{record['rate']:g}",
        ]
        for record, losses in zip(records, found, strict=True)
    ]
    return table(
        "Loss on the valid part after a short run, by the highest learning rate",
        ["model", *(f"{rate:g}" for rate in tried), "chosen"],
        rows,
    )


def streams(title: str, records: Iterable[Record]) -> str:
    """Show what a token of one long stream costs."""
    rows = [
        [
            record["row"],
            f"{stream['after']:,}",
            f"{stream['tokens']:,}",
            *(f"{1e3 * stream[key]:.3f}" for key in ("median", "p99", "p999", "first", "last")),
            written(stream["state_bytes"], "bytes"),
        ]
        for record in records
        for stream in (record["stream"],)
    ]
    columns = [
        "model",
        "after tokens",
        "timed",
        "median, ms",
        "p99",
        "p99.9",
        "first 1,000",
        "last 1,000",
        "keeps",
    ]
    return table(title, columns, rows)


def cost(training: Record) -> list[str]:
    """Write what training took: parameters, speed, time, memory."""
    return [
        f"{training['parameters']:,}",
        f"{training['processes']}",
        f"{training['tokens_per_second']:,.0f}",
        minutes(training["seconds"]),
        written(training["peak_bytes"], "bytes"),
    ]


COST = ["parameters", "processes", "tokens/s", "trained for", "peak memory"]


def command(record: Record) -> str:
    """Return the command that made a record, as far as it tells."""
    config = record["config"]
    names = ["rate"] if config["rate"] is not None else ["rates", "trial_tokens"]
    names += ["tokens", "step_tokens", "stream", "data", "test"]
    given = {"row": record["row"], "seed": record["seed"]} | {name: config.get(name) for name in names}
    usual = {"device": "cuda", "parts": 1}
    given |= {name: config[name] for name in usual if config[name] != usual[name]}
    plain = "" if config["compile"] else " --no-compile"
    processes = record["training"]["processes"] if record["training"] else 1
    program = "scannable" if processes == 1 else f"torchrun --nproc-per-node {processes} -m scannable"
    return f"{program} reproduce language {flags(given)}{plain}"


def _tight(lines: Sequence[Line]) -> Axis:
    return Axis(title="", ends=around(height for line in lines for _, height in line.points))
