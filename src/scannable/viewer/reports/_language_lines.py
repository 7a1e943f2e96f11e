"""The figures of the table of language models, from the records of its rows."""

import statistics
from typing import Any

LANGUAGE_PEERS = {512: "decoder", 8192: "decoder-8k"}
"""What perplexities are compared with, by the tokens that are read at once."""

Record = dict[str, Any]


def language_table(found: Record, length: int = 512) -> list[Record]:
    """Return a line of figures for each model that reads ``length`` tokens at once, means over its seeds.

    ``ratio`` is the perplexity over that of the decoder of the same seeds, where both read as many tokens in training
    and were scored on as much text; ``interval`` and all that depends on the weights' shape alone are of the first
    seed, and so is ``stream``: of those that were timed alone if there are any.
    """
    by_name: dict[str, list[Record]] = {}
    for record in found["rows"]:
        if blocked(record)["length"] == length:
            by_name.setdefault(record["row"], []).append(record)
    peers = by_name.get(LANGUAGE_PEERS.get(length, ""), [])
    peer = {_terms(record): blocked(record)["perplexity"] for record in peers}
    streams = {record["row"]: record["stream"] for record in reversed(found.get("streams", []))}
    return [
        _line(name, records, peer) | {"stream": streams.get(name, records[0]["stream"])}
        for name, records in by_name.items()
    ]


def blocked(record: Record) -> Record:
    """Return the figures of the blocked reading of a row's record, in parallel and in float32."""
    return next(
        score
        for score in record["scores"]
        if (score["reading"], score["form"], score["precision"]) == ("blocked", "parallel", "float32")
    )


def _terms(record: Record) -> tuple[int, ...]:
    """Return what must be the same in two records that are compared."""
    score = blocked(record)
    return record["seed"], record["training"]["tokens"], score["tokens"], score["bytes"]


def _line(name: str, records: list[Record], peer: dict[tuple[int, ...], float | None]) -> Record:
    first, scores = records[0], [blocked(record) for record in records]
    pairs = [(blocked(record)["perplexity"], peer.get(_terms(record))) for record in records]
    ratios = [ours / theirs for ours, theirs in pairs if ours and theirs]

    def mean(figure: str) -> float | None:
        values = [score[figure] for score in scores]
        return None if None in values else statistics.fmean(values)

    return {
        "model": name,
        "seeds": [record["seed"] for record in records],
        "rate": first["rate"],
        "chunk": scores[0]["chunk"],
        "perplexities": [score["perplexity"] for score in scores],
        "perplexity": mean("perplexity"),
        "interval": scores[0]["interval"],
        "ratio": statistics.fmean(ratios) if ratios else None,
        "authors_subset_perplexity": mean("authors_subset_perplexity"),
        "bits_per_byte": mean("bits_per_byte"),
        "word_perplexity": mean("word_perplexity"),
        "merged_share": scores[0]["merged_share"],
        "merges": scores[0]["merges"],
        **{
            key: first["training"][key]
            for key in ("parameters", "processes", "tokens_per_second", "seconds", "peak_bytes")
        },
    }
