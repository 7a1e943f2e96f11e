"""The page of the table of language models, from what ``scannable reproduce language --collect`` put together."""

from scannable.viewer.parts._page import heading, page, pair, table, tiles, top
from scannable.viewer.parts._written import between, fixed, written
from scannable.viewer.reports._language_charts import against_share, curves
from scannable.viewer.reports._language_lines import LANGUAGE_PEERS, blocked, language_table
from scannable.viewer.reports._language_parts import COST, Record, command, cost, rates, streams
from scannable.viewer.reports._origin import origin

QUALITY = [
    "model",
    "perplexity of each seed",
    "95 %",
    "of the decoder's",
    "authors' subset",
    "bits a byte",
    "of a word",
    "read a merged state",
]
SPEED = ["model", "T", "tokens/s", "samples", "of the decoder's", "peak memory", "parameters", "error"]


def language_table_page(record: Record) -> str:
    """Draw the table of language models; what was not measured is left out."""
    rows, alone, speeds = record["rows"], record.get("streams", []), record.get("speeds", [])
    tables = {
        length: language_table(record, length) for length in sorted({blocked(row)["length"] for row in rows})
    }
    calls = [*rows, *record["trials"], *alone]
    tried = [call for call in (*record["trials"], *rows) if call["trials"]]
    return page(
        f"scannable reproduce language: {_headline(record, tables)}",
        *_top(record, tables),
        *(part for length, lines in tables.items() for part in _windows(length, lines, rows)),
        *(_alone(alone) if alone else []),
        *(part for speed in speeds for part in _speed(speed)),
        *([heading("Learning rates"), rates(tried)] if tried else []),
        *origin(
            "\n".join([*map(command, calls), *("scannable bench language" for _ in speeds)]),
            [call["machine"] for call in (*calls, *speeds)],
            [call["config"] for call in (*calls, *speeds)],
        ),
    )


def _headline(record: Record, tables: dict[int, list[Record]]) -> str:
    for length, lines in tables.items():
        found = [line for line in lines if line["perplexity"] is not None]
        if found:
            best = min(found, key=lambda line: line["perplexity"])
            if len(found) == 1:
                return f"{best['model']}: a perplexity of {best['perplexity']:.2f}, {length:,} tokens at once"
            return (
                f"Of {len(found)} language models that read {length:,} tokens at once, {best['model']} has the lowest "
                f"perplexity, {best['perplexity']:.2f}"
            )
    if record["trials"]:
        return (
            f"Learning rates were tried for {len(record['trials'])} language models; none was trained in full"
        )
    return "No language model was trained"


def _top(record: Record, tables: dict[int, list[Record]]) -> list[str]:
    rows, figures = record["rows"], []
    for length, lines in tables.items():
        merging = [line for line in lines if line["merged_share"] and line["ratio"] is not None]
        if merging:
            best = min(merging, key=lambda line: line["ratio"])
            share = written(best["merged_share"], "percent")
            what = f"perplexity of {best['model']} over that of {LANGUAGE_PEERS[length]}, {length:,} tokens at once"
            figures += [
                (fixed(best["ratio"], 3), what, ""),
                (share, f"of the tokens of {best['model']} read a merged state", ""),
            ]
    trained = {row["row"] for row in rows}
    missing = [trial["row"] for trial in record["trials"] if trial["row"] not in trained]
    words = [f"Runs: {len(rows)}, of {len(trained)} models."] if rows else []
    if rows and missing:
        words.append(f"Not trained in full: {', '.join(missing)}.")
    return [
        top("scannable reproduce language", f"{_headline(record, tables)}.", " ".join(words)),
        *([tiles(figures)] if figures else []),
    ]


def _windows(length: int, lines: list[Record], rows: list[Record]) -> list[str]:
    """Show the models that read so many tokens at once."""
    runs = {row["row"]: row for row in reversed(rows)}
    peer = next((line for line in lines if line["model"] == LANGUAGE_PEERS.get(length)), None)
    none = [line["model"] for line in lines if line["merged_share"] == 0]
    words = (
        "Perplexity is over all tokens but the first, of the last weights; what is one figure a model is its mean over "
        "seeds. Intervals are over articles drawn again, of the first seed, as are curves."
    )
    if none:
        words += (
            f" No token of {' or '.join(none)} reads a merged state: their figures say nothing about merging."
        )
    quality = [
        [
            line["model"],
            ", ".join(fixed(value, 2) for value in line["perplexities"]),
            between(line["interval"], 2),
            fixed(line["ratio"], 3),
            fixed(line["authors_subset_perplexity"], 2),
            fixed(line["bits_per_byte"], 4),
            fixed(line["word_perplexity"], 2),
            written(line["merged_share"], "percent"),
        ]
        for line in lines
    ]
    timed = [{"row": line["model"], "stream": line["stream"]} for line in lines if line["stream"]]
    return [
        heading(f"{length:,} tokens at once", words),
        table(f"Perplexity, T = {length:,}", QUALITY, quality),
        pair(*against_share(lines, peer), *curves(lines, peer, runs)),
        table(
            f"What training took, T = {length:,}",
            ["model", *COST],
            [[line["model"], *cost(line)] for line in lines],
        ),
        *([streams(f"One long stream, milliseconds a token, T = {length:,}", timed)] if timed else []),
    ]


def _alone(records: list[Record]) -> list[str]:
    return [
        heading("Streams that were timed alone", "One stream, token by token, with fresh weights."),
        streams("Milliseconds a token", records),
    ]


def _speed(record: Record) -> list[str]:
    rows = [
        [
            row["model"],
            f"{row['length']:,}",
            f"{row['tokens_per_second']:,.0f}",
            between((min(row["samples"]), max(row["samples"])), 0),
            fixed(row["ratio"], 2),
            written(row["peak_bytes"], "bytes"),
            f"{row['parameters']:,}",
            f"{row['error']:.1g}",
        ]
        for row in record["rows"]
    ]
    words = (
        f"{record['config']['tokens']:,} tokens a step, all models in turn in one process. The error is that of the "
        f"compiled loss and its slope against float32, which was checked before anything was timed."
    )
    return [heading("Speed of training", words), table("Tokens a second", SPEED, rows)]
