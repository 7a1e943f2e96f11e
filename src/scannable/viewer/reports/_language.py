"""The page of ``scannable reproduce language``: one model, from its record."""

from scannable.viewer.parts._figure import Line
from scannable.viewer.parts._page import heading, page, pair, table, tiles, top
from scannable.viewer.parts._written import between, fixed, minutes, written
from scannable.viewer.reports._language_lines import blocked
from scannable.viewer.reports._language_parts import (
    COST,
    Record,
    by_place,
    by_step,
    command,
    cost,
    merged,
    places,
    rates,
    steps,
    streams,
)
from scannable.viewer.reports._origin import origin


def language_page(record: Record) -> str:
    """Draw the report of one language model; what was not measured is left out."""
    return page(
        "scannable reproduce language: " + _headline(record),
        *_top(record),
        *(_scores(record) if record["scores"] else []),
        *_curves(record),
        *(_training(record["training"]) if record["training"] else []),
        *(_rates(record) if record["trials"] else []),
        *(_stream(record) if record["stream"] else []),
        *origin(command(record), [record["machine"]], record["config"]),
    )


def _headline(record: Record) -> str:
    name = record["row"]
    if record["scores"]:
        score = blocked(record)
        return f"{name}: {_level(score)} on {score['tokens']:,} tokens, read {score['length']:,} at a time"
    if record["trials"]:
        return f"{name}: of {len(record['trials'])} learning rates {record['rate']:g} is the best"
    if record["stream"]:
        return f"{name}: a token of a long stream takes {written(record['stream']['median'], 'seconds')}"
    return f"{name}: nothing was measured"


def _level(score: Record) -> str:
    """Name the perplexity, or the loss where that is too large to be written."""
    if score["perplexity"] is None:
        return f"a loss of {score['loss']:.4f}"
    return f"a perplexity of {score['perplexity']:.2f}"


def _top(record: Record) -> list[str]:
    training, stream, figures = record["training"], record["stream"], []
    words = f"Seed {record['seed']}, with a highest learning rate of {record['rate']:g}."
    if record["scores"]:
        score = blocked(record)
        words += (
            f" One run; its last weights are scored on every token of the text but the first. {merged(score)}"
        )
        figures.append(
            (fixed(score["perplexity"], 2), f"perplexity; 95 %: {between(score['interval'], 2)}", "")
        )
        if score["merged_share"] is not None:
            figures.append((written(score["merged_share"], "percent"), "of tokens read a merged state", ""))
    if training:
        figures.append((minutes(training["seconds"]), f"training on {training['tokens']:,} tokens", ""))
    if stream:
        figures.append((written(stream["median"], "seconds"), "a token of one long stream, median", ""))
    return [
        top("scannable reproduce language", f"{_headline(record)}.", words),
        *([tiles(figures)] if figures else []),
    ]


def _scores(record: Record) -> list[str]:
    scores = record["scores"]
    rows = [
        [
            f"{score['reading']}, {score['form']}, {score['precision']}",
            f"{score['tokens']:,}",
            fixed(score["perplexity"], 3),
            between(score["interval"], 2),
            fixed(score["authors_subset_perplexity"], 3),
            fixed(score["bits_per_byte"], 4),
            fixed(score["word_perplexity"], 2),
            "-" if score["merges"] is None else f"{score['merges']:,}",
            written(score["merged_share"], "percent"),
        ]
        for score in scores
    ]
    columns = [
        "reading, form, precision",
        "tokens",
        "perplexity",
        "95 %",
        "authors' subset",
        "bits a byte",
        "of a word",
        "merges",
        "read a merged state",
    ]
    words = (
        "Blocked, the text is cut in windows and nothing is carried over; carried, each article is read whole. The "
        "interval is over articles drawn again."
    )
    exact = {s["form"]: s["loss"] for s in scores if (s["reading"], s["precision"]) == ("blocked", "float32")}
    if len(exact) == 2:
        apart = abs(exact["parallel"] - exact["streaming"])
        words += f" In float32 the loss of the two forms differs by {apart:.1g} nats a token."
    return [heading("How well it predicts", words), table("Perplexity", columns, rows)]


def _curves(record: Record) -> list[str]:
    cards, training = [], record["training"]
    if record["scores"]:
        found = [s for s in record["scores"] if (s["form"], s["precision"]) == ("parallel", "float32")]
        lines = [Line(name=s["reading"], points=places(s), tone=tone) for tone, s in enumerate(found)]
        chunk, length = found[0]["chunk"], found[0]["length"]
        notes = [(2 * chunk, "merged states from here")] if chunk and 2 * chunk < length else []
        cards.append(by_place("Loss by place", lines, notes))
    if training:
        lines = [
            Line(name="training", points=steps(training, "losses"), tone=0, form="thin"),
            Line(name="valid part", points=steps(training, "valid_losses"), tone=1),
        ]
        cards.append(by_step("Loss in training", [line for line in lines if line.points]))
    return [heading("Loss, nats a token"), pair(*cards)] if cards else []


def _training(training: Record) -> list[str]:
    last = training["valid_losses"][-1:]
    words = f"The loss on the valid part ends at {last[0][1]:.4f}." if last else ""
    rows = [[f"{training['steps']:,}", f"{training['tokens']:,}", *cost(training)]]
    return [heading("Training", words), table("What training took", ["steps", "tokens", *COST], rows)]


def _rates(record: Record) -> list[str]:
    tokens = record["config"]["trial_tokens"]
    return [heading("Learning rates", f"Each was tried on {tokens:,} tokens."), rates([record])]


def _stream(record: Record) -> list[str]:
    weights = "trained" if record["training"] else "fresh"
    return [
        heading("A stream", f"One stream, token by token, with {weights} weights."),
        streams("Milliseconds a token", [record]),
    ]
