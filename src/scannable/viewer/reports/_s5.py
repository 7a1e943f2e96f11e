"""The page of ``scannable reproduce s5``, from its record."""

from typing import Any

from scannable.viewer.parts._figure import TONES, Line
from scannable.viewer.parts._page import Cell, figure, heading, page, pair, table, tiles, top
from scannable.viewer.parts._scale import Axis
from scannable.viewer.parts._written import fixed, minutes, written
from scannable.viewer.reports._origin import flags, origin

Record = dict[str, Any]

WRONG = ("wrong_merges", "wrong_answers", "wrong_singles")


def s5_page(record: Record) -> str:
    """Draw the report of the packaged S5 model and what becomes of it without each of its parts."""
    return page(
        "scannable reproduce s5: " + _headline(record),
        *_top(record),
        *_products(record),
        *_lengths(record),
        *_training(record),
        *origin(
            f"scannable reproduce s5 {flags(record['config'])}",
            [record["machine"]],
            record["config"],
        ),
    )


def _headline(record: Record) -> str:
    main = record["variants"][0]
    products, stream = main["products"], main["stream"]
    wrong = sum(products[key] for key in WRONG)
    whole = f"all {products['pairs']:,} products" if not wrong else f"all but {wrong:,} answers and merges"
    errors = _errors(stream)
    end = "without an error" if not errors else f"with {errors:,} errors"
    return f"The {main['variant']} model has {whole} right, and reads {stream['length']:,} tokens in one stream {end}"


def _top(record: Record) -> list[str]:
    main, stream = record["variants"][0], record["variants"][0]["stream"]
    wrong, errors = sum(main["products"][key] for key in WRONG), _errors(stream)
    words = (
        f"Word problems over S5: the product of all permutations so far, after each. The {main['variant']} model has "
        f"{main['parameters']:,} parameters. With one token in a chunk and states snapped to the vectors of tokens, "
        f"the products of two elements are all that it ever computes. One seed, {record['config']['seed']}; each "
        f"variant was trained once."
    )
    figures = [
        (f"{wrong:,}", f"wrong merges and answers, of {main['products']['pairs']:,} products", _mark(wrong)),
        (f"{errors:,}", f"wrong answers in a stream of {stream['length']:,} tokens", _mark(errors)),
        (written(stream["stream_bytes"], "bytes"), "kept by that stream at its end", ""),
        (minutes(main["seconds"]), f"training, {main['steps']:,} steps", ""),
    ]
    return [top("scannable reproduce s5", f"{_headline(record)}.", words), tiles(figures)]


def _products(record: Record) -> list[str]:
    rows: list[list[Cell]] = [
        [
            variant["variant"],
            f"{variant['parameters']:,}",
            *((f"{variant['products'][key]:,}", _mark(variant["products"][key])) for key in WRONG),
            fixed(variant["products"]["margin"], 2),
        ]
        for variant in record["variants"]
    ]
    pairs = record["variants"][0]["products"]["pairs"]
    return [
        heading(
            "Every product of two",
            "By the aggregator, whose merged state must be the vector of the product, and by the inference module, "
            "whose answer must be the product; then each element alone. The margin is the smallest distance, in "
            "logits, of the right answer from the next one; below zero that one is preferred.",
        ),
        table(
            f"Wrong, of {pairs:,} products",
            ["variant", "parameters", "merges", "answers", "single elements", "smallest margin"],
            rows,
        ),
    ]


def _lengths(record: Record) -> list[str]:
    variants = record["variants"]
    lengths = sorted({row["length"] for variant in variants for row in variant["evaluations"]})

    def against_length(key: str, title: str) -> str:
        lines = [
            Line(
                name=variant["variant"],
                points=[(r["length"], r[key]) for r in variant["evaluations"] if r["form"] == "parallel"],
                tone=number % TONES,
                form="line" if number else "rings",
            )
            for number, variant in reversed(list(enumerate(variants)))
        ]
        across = Axis(title="length of the word", log=True, ticks=[(n, f"{n:,}") for n in lengths])
        return figure(title, lines, across, Axis(title="", unit="percent", ends=(0.0, 1.0)))

    rows = []
    for variant in variants:
        kept = {(row["form"], row["length"]): row for row in variant["evaluations"]}
        for form in ("parallel", "streaming"):
            cells = [
                " / ".join(written(kept[form, n][key], "percent") for key in ("final_error", "error"))
                for n in lengths
            ]
            rows.append([f"{variant['variant']}, {form}", *cells])
    stream = variants[0]["stream"]
    words = (
        f"{variants[0]['evaluations'][0]['sequences']:,} fresh words of each length, in both forms. Rings are the "
        f"{variants[0]['variant']} model."
    )
    return [
        heading("Error against length", words),
        pair(
            against_length("final_error", "Wrong last answers, in parallel"),
            against_length("error", "Wrong answers, all places, in parallel"),
        ),
        table("Wrong last answers / wrong answers", ["length", *(f"{n:,}" for n in lengths)], rows),
        table(
            f"One stream, in pieces of {stream['piece']:,} tokens and {stream['singles']:,} single steps after each",
            ["tokens", "wrong answers", "loss", "bytes at the end", "tokens per second"],
            [
                [
                    f"{stream['length']:,}",
                    (written(stream["error"], "percent"), _mark(stream["error"])),
                    f"{stream['loss']:.3g}",
                    f"{stream['stream_bytes']:,}",
                    f"{stream['tokens_per_second']:,.0f}",
                ]
            ],
        ),
    ]


def _training(record: Record) -> list[str]:
    # JSON has no keys but strings.
    steps = [{int(n): step for n, step in row["solved_at_step"].items()} for row in record["variants"]]
    lengths = sorted({length for solved in steps for length in solved})
    rows = [
        [
            variant["variant"],
            *(f"{solved[n]:,}" if n in solved else "never" for n in lengths),
            f"{variant['steps']:,}",
            minutes(variant["seconds"]),
        ]
        for variant, solved in zip(record["variants"], steps, strict=True)
    ]
    return [
        heading(
            "Training",
            "Words grow when the length before is solved on fresh words; one that is never solved is never left.",
        ),
        table(
            "The step at which each length was solved",
            ["variant", *(f"length {n}" for n in lengths), "steps", "time"],
            rows,
        ),
    ]


def _errors(stream: Record) -> int:
    return round(stream["error"] * stream["length"])


def _mark(wrong: int | float) -> str:
    return "bad" if wrong else "good"
