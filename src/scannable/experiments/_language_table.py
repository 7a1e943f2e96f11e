"""The table of language models, from the records of its rows."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scannable.experiments._language_rows import LANGUAGE_ROWS

LANGUAGE_PEERS = {512: "decoder", 8192: "decoder-8k"}
"""What perplexities are compared with, by the tokens that are read at once."""


def collect(paths: Iterable[Path]) -> dict[str, Any]:
    """Put the records of single calls together, in the order of the table.

    Returns:
        ``rows``: the records of runs. ``trials``: those of calls that only tried learning rates. ``streams``: those of
        calls that only timed a stream, which count for their rows.

    Raises:
        ValueError: If a file is no such record, or two are of one row and seed.
    """
    rows, trials, streams = [], [], []
    for path in paths:
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
            (rows if record["scores"] else trials if record["trials"] else streams).append(record)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} must be what scannable reproduce language --json printed, got something else ({error!r}); "
                f"leave it out."
            ) from error
    for records in (rows, trials, streams):
        records.sort(key=lambda record: (list(LANGUAGE_ROWS).index(record["row"]), record["seed"]))
        names = [(record["row"], record["seed"]) for record in records]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"Records must be of one row and seed each, got two of {twice}; leave one out.")
    return {"rows": rows, "trials": trials, "streams": streams}


def language_table(found: dict[str, Any], length: int = 512) -> list[dict[str, Any]]:
    """Return a line of figures for each model that reads ``length`` tokens at once, means over its seeds.

    ``ratio`` is the perplexity over that of the decoder of the same seeds; ``interval`` and all that depends on the
    weights' shape alone are of the first seed.
    """
    by_name: dict[str, list[dict[str, Any]]] = {}
    for record in found["rows"]:
        if LANGUAGE_ROWS[record["row"]].length == length:
            by_name.setdefault(record["row"], []).append(record)
    peer = {
        record["seed"]: _score(record)["perplexity"] for record in by_name.get(LANGUAGE_PEERS[length], [])
    }
    streams = {record["row"]: record["stream"] for record in found.get("streams", ())}
    return [
        _line(name, records, peer) | {"stream": streams.get(name, records[0]["stream"])}
        for name, records in by_name.items()
    ]


def _line(name: str, records: list[dict[str, Any]], peer: dict[int, float]) -> dict[str, Any]:
    first, scores = records[0], [_score(record) for record in records]
    same = [
        (score["perplexity"], peer[record["seed"]])
        for score, record in zip(scores, records, strict=True)
        if record["seed"] in peer
    ]

    def mean(figure: str) -> float | None:
        values = [score[figure] for score in scores]
        return None if None in values else statistics.fmean(values)

    return {
        "model": name,
        "seeds": [record["seed"] for record in records],
        "rate": first["rate"],
        "perplexities": [score["perplexity"] for score in scores],
        "perplexity": mean("perplexity"),
        "interval": scores[0]["interval"],
        "ratio": statistics.fmean(x / y for x, y in same) if same else None,
        "authors_subset_perplexity": mean("authors_subset_perplexity"),
        "bits_per_byte": mean("bits_per_byte"),
        "word_perplexity": mean("word_perplexity"),
        "merged_share": scores[0]["merged_share"],
        "merges": scores[0]["merges"],
        **{
            key: first["training"][key]
            for key in ("parameters", "tokens_per_second", "seconds", "peak_bytes")
        },
    }


def _score(record: dict[str, Any], form: str = "parallel", precision: str = "float32") -> dict[str, Any]:
    """Return the figures of the blocked reading."""
    return next(
        score
        for score in record["scores"]
        if (score["reading"], score["form"], score["precision"]) == ("blocked", form, precision)
    )
