"""The page of the demo, from ``results.json``."""

from scannable.viewer.parts._figure import Line
from scannable.viewer.parts._page import figure, heading, page, pair, table, tiles, top
from scannable.viewer.parts._scale import Axis
from scannable.viewer.parts._written import minutes, short, written
from scannable.viewer.reports._demo_evidence import NAMES, SHORT, Record, duality, training
from scannable.viewer.reports._origin import flags, origin

SERIES = (
    ("decoder", "parallel", 1, "line"),
    ("decoder", "streaming", 1, "rings"),
    ("psm", "parallel", 0, "line"),
    ("psm", "streaming", 0, "rings"),
)


def demo_page(record: Record) -> str:
    """Draw the report of a demo, a page that needs no other file."""
    seconds = [(f"seconds, {name}", f"{value:,.0f}") for name, value in record["seconds"].items()]
    return page(
        "scannable demo: " + _headline(record),
        *_top(record),
        *_errors(record),
        *_streams(record),
        *duality(record),
        *training(record),
        *origin(_commands(record), [record["environment"]], record["config"], seconds),
    )


def _commands(record: Record) -> str:
    return (
        f"scannable demo --folder demo {flags(record['config']['measure'])}\n"
        "scannable evaluate demo/psm --form streaming\n"
        "scannable verify demo/psm"
    )


def _headline(record: Record) -> str:
    lengths, errors = record["lengths"], record["final_errors"]
    last, trained = lengths["compared"][-1], lengths["trained"]
    times = last // trained
    wrong = max(errors["psm parallel"], errors["psm streaming"])
    if not record["right"]:
        return (
            f"Trained on words of up to {trained}, the Transformer-PSM is wrong in {written(wrong, 'percent')} of "
            f"words of {last:,}"
        )
    rows = [r for r in record["evaluations"] if (r["model"], r["length"]) == ("psm", last)]
    anywhere = max(row["error"] for row in rows)
    how = "without one error" if anywhere == 0 else f"with {written(wrong, 'percent')} of last answers wrong"
    return (
        f"Trained on words of up to {trained}, a Transformer-PSM answers words of {last:,}, {times} times as long, "
        f"{how}"
    )


def _top(record: Record) -> list[str]:
    errors, runs = record["final_errors"], record["runs"]
    times = record["lengths"]["compared"][-1] // record["lengths"]["trained"]
    distance = next(f for f in record["duality"]["findings"] if f["what"].startswith("float64: largest"))
    psm = max(errors["psm parallel"], errors["psm streaming"])
    one = "which compute one function" if record["one_function"] else "which do not compute one function"
    words = (
        f"The task: read permutations from {record['task']['group']}, a group of {record['order']} elements, one by "
        f"one, and say after each what their product is so far. Two models of about one size were trained on it: "
        f"{runs['psm']['parameters']:,} parameters in a Transformer-PSM, {runs['decoder']['parameters']:,} in a "
        f"GPT-2-style decoder with rotary positions. The Transformer-PSM was run in two forms, in parallel over a tree "
        f"and as a stream, {one}."
    )
    figures = [
        (
            written(psm, "percent"),
            f"wrong last answers at {times}x, Transformer-PSM",
            "good" if record["right"] else "bad",
        ),
        (written(errors["decoder parallel"], "percent"), f"wrong last answers at {times}x, decoder", ""),
        (
            short(distance["measured"]),
            "largest relative distance of the two forms, float64",
            "good" if record["one_function"] else "bad",
        ),
        (minutes(runs["psm"]["seconds"]), "training of the Transformer-PSM", ""),
    ]
    return [top("scannable demo", f"{_headline(record)}.", words), tiles(figures)]


def _errors(record: Record) -> list[str]:
    lengths, rows = record["lengths"], record["evaluations"]
    compared = lengths["compared"]

    def against_length(key: str, title: str) -> str:
        lines = [
            Line(
                name=f"{SHORT[model]}, {'stream' if form == 'streaming' else form}",
                points=[(r["length"], r[key]) for r in rows if (r["model"], r["form"]) == (model, form)],
                tone=tone,
                form=kind,
            )
            for model, form, tone, kind in SERIES
        ]
        ticks = [(n, f"{n:,}") for n in (2, *compared) if n >= lengths["all"][0]]
        return figure(
            title,
            lines,
            Axis(title="length of the word", log=True, ticks=ticks),
            Axis(title="", unit="percent", ends=(0.0, 1.0)),
            notes=[(lengths["trained"], "trained up to here")],
        )

    kept = {(r["model"], r["form"], r["length"]): r for r in rows}
    ways = [(model, form) for model in ("psm", "decoder") for form in ("parallel", "streaming")]
    columns = [f"{SHORT[model]}, {'stream' if form == 'streaming' else form}" for model, form in ways]
    errors = [
        [
            f"{length:,} ({length // lengths['trained']}x)",
            *(
                " / ".join(written(kept[*way, length][key], "percent") for key in ("final_error", "error"))
                for way in ways
            ),
        ]
        for length in compared
    ]
    speed = [
        [
            f"{NAMES[model]}, {form}",
            *(f"{kept[model, form, n]['tokens_per_second']:,.0f}" for n in compared),
        ]
        for model, form in ways
    ]
    return [
        heading(
            "Error against length",
            f"Rings are the streaming form: where they lie on the line, both forms give the same answers. Guessing "
            f"would be wrong in {written(1 - 1 / record['order'], 'percent')}.",
        ),
        pair(
            against_length("final_error", "Wrong last answers"),
            against_length("error", "Wrong answers, all places"),
        ),
        table(
            f"Wrong last answers / wrong answers, on {rows[0]['sequences']:,} fresh words of each length",
            ["length", *columns],
            errors,
        ),
        table("Speed while evaluating", ["tokens per second", *(f"{n:,}" for n in compared)], speed),
    ]


def _streams(record: Record) -> list[str]:
    def while_reading(key: str, up: Axis, title: str) -> str:
        lines = [
            Line(
                name=SHORT[model], points=[(r["length"], r[key]) for r in rows], tone=int(model == "decoder")
            )
            for model, rows in record["streams"].items()
        ]
        ticks = [(n, f"{n:,}") for n in record["lengths"]["compared"]]
        return figure(title, lines, Axis(title="tokens read", log=True, ticks=ticks), up)

    last = {model: written(rows[-1]["bytes"], "bytes") for model, rows in record["streams"].items()}
    words = (
        f"Measured on one stream each. After {record['lengths']['all'][-1]:,} tokens the Transformer-PSM keeps "
        f"{last['psm']}: one state for each binary digit of the number of chunks. The decoder's cache, which grows "
        f"with every token, has {last['decoder']}."
    )
    return [
        heading("What a stream keeps", words),
        pair(
            while_reading("bytes", Axis(title="", unit="bytes", log=True), "Memory of one stream"),
            while_reading("step_seconds", Axis(title="", unit="seconds"), "Time of one step"),
        ),
    ]
