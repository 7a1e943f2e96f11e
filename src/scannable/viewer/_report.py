"""The page of the demo, from ``results.json``."""

from html import escape

from scannable.viewer._evidence import NAMES, SHORT, Record, duality, minutes, origin, short, training
from scannable.viewer._figure import Axis, Line, chart, written
from scannable.viewer._page import card, heading, page, pair, table, tiles

SERIES = (
    ("decoder", "parallel", 1, "line"),
    ("decoder", "streaming", 1, "rings"),
    ("psm", "parallel", 0, "line"),
    ("psm", "streaming", 0, "rings"),
)


def demo_page(record: Record) -> str:
    """Draw the report of a demo, a page that needs no other file."""
    return page(
        "scannable demo: " + _headline(record),
        *_top(record),
        *_errors(record),
        *_streams(record),
        *duality(record),
        *training(record),
        *origin(record),
    )


def _headline(record: Record) -> str:
    lengths, errors = record["lengths"], record["final_errors"]
    last, trained = lengths["compared"][-1], lengths["trained"]
    times = last // trained
    if not record["right"]:
        wrong = written(max(errors["psm parallel"], errors["psm streaming"]), "percent")
        return f"Trained on words of up to {trained}, the Transformer-PSM is wrong in {wrong} of words of {last:,}"
    wrong = max(errors["psm parallel"], errors["psm streaming"])
    rows = [r for r in record["evaluations"] if (r["model"], r["length"]) == ("psm", last)]
    anywhere = max(row["error"] for row in rows)
    how = "without one error" if anywhere == 0 else f"with {written(wrong, 'percent')} of last answers wrong"
    return (
        f"Trained on words of up to {trained}, a Transformer-PSM answers words of {last:,}, {times} times as long, "
        f"{how}"
    )


def _top(record: Record) -> list[str]:
    errors, last, trained = (
        record["final_errors"],
        record["lengths"]["compared"][-1],
        record["lengths"]["trained"],
    )
    runs, times = record["runs"], last // trained
    group = record["task"]["group"]
    distance = next(f for f in record["duality"]["findings"] if f["what"].startswith("float64: largest"))
    psm = max(errors["psm parallel"], errors["psm streaming"])
    words = (
        f"The task: read permutations from {group}, a group of {record['order']} elements, one by one, and "
        f"say after each "
        f"what their product is so far. Two models of about one size were trained on it: {runs['psm']['parameters']:,} "
        f"parameters in a Transformer-PSM, {runs['decoder']['parameters']:,} in a GPT-2-style decoder with rotary "
        f"positions. The Transformer-PSM was run in two forms, in parallel over a tree and as a stream, which compute "
        f"one function."
    )
    return [
        '<p class="eyebrow">scannable demo</p>',
        f"<h1>{escape(_headline(record))}.</h1>",
        f"<p>{escape(words)}</p>",
        tiles(
            [
                (
                    written(psm, "percent"),
                    f"wrong last answers at {times}x, Transformer-PSM",
                    "good" if record["right"] else "bad",
                ),
                (
                    written(errors["decoder parallel"], "percent"),
                    f"wrong last answers at {times}x, decoder",
                    "",
                ),
                (
                    short(distance["measured"]),
                    "largest relative distance of the two forms, float64",
                    "good" if record["one_function"] else "bad",
                ),
                (minutes(runs["psm"]["seconds"]), "training of the Transformer-PSM, on the CPU", ""),
            ]
        ),
    ]


def _errors(record: Record) -> list[str]:
    lengths = record["lengths"]
    rows = record["evaluations"]

    def figure(key: str, title: str) -> str:
        lines = [
            Line(
                name=f"{SHORT[model]}, {'stream' if form == 'streaming' else form}",
                points=[(r["length"], r[key]) for r in rows if (r["model"], r["form"]) == (model, form)],
                tone=tone,
                form=kind,
            )
            for model, form, tone, kind in SERIES
        ]
        across = Axis(
            title="length of the word",
            log=True,
            ticks=[(n, f"{n:,}") for n in (2, *lengths["compared"]) if n >= lengths["all"][0]],
        )
        up = Axis(title="", unit="percent", ends=(0.0, 1.0))
        return card(
            chart(title, lines, across, up, notes=[(lengths["trained"], "trained up to here")]), title
        )

    columns = ["length", "PSM, parallel", "PSM, stream", "decoder, parallel", "decoder, stream"]
    kept = {(r["model"], r["form"], r["length"]): r for r in rows}
    body = []
    for length in lengths["compared"]:
        cells: list[str | tuple[str, str]] = [f"{length:,} ({length // lengths['trained']}x)"]
        for model in ("psm", "decoder"):
            for form in ("parallel", "streaming"):
                row = kept[model, form, length]
                cells.append(f"{written(row['final_error'], 'percent')} / {written(row['error'], 'percent')}")
        body.append(cells)
    speed = []
    for model in ("psm", "decoder"):
        for form in ("parallel", "streaming"):
            line = [f"{NAMES[model]}, {form}"]
            line += [f"{kept[model, form, n]['tokens_per_second']:,.0f}" for n in lengths["compared"]]
            speed.append(line)
    return [
        heading(
            "Error against length",
            f"Rings are the streaming form: where they lie on the line, both forms give the same answers. "
            f"Guessing would "
            f"be wrong in {written(1 - 1 / record['order'], 'percent')}.",
        ),
        pair(figure("final_error", "Wrong last answers"), figure("error", "Wrong answers, all places")),
        card(
            table(columns, body),
            f"Wrong last answers / wrong answers, on {rows[0]['sequences']:,} fresh words of each length",
        ),
        card(
            table(["tokens per second", *(f"{n:,}" for n in lengths["compared"])], speed),
            "Speed while evaluating",
        ),
    ]


def _streams(record: Record) -> list[str]:
    figures = []
    for key, unit, title in (
        ("bytes", "bytes", "Memory of one stream"),
        ("step_seconds", "seconds", "Time of one step"),
    ):
        lines = [
            Line(
                name=SHORT[model],
                points=[(r["length"], r[key]) for r in rows],
                tone=int(model == "decoder"),
            )
            for model, rows in record["streams"].items()
        ]
        across = Axis(
            title="tokens read", log=True, ticks=[(n, f"{n:,}") for n in record["lengths"]["compared"]]
        )
        up = Axis(title="", unit=unit, log=unit == "bytes")
        figures.append(card(chart(title, lines, across, up), title))
    last = {model: rows[-1]["bytes"] for model, rows in record["streams"].items()}
    words = (
        f"Measured on one stream each. After {record['lengths']['all'][-1]:,} tokens the Transformer-PSM keeps "
        f"{written(last['psm'], 'bytes')}: one state for each binary digit of the number of chunks. The "
        f"decoder's cache, "
        f"which grows with every token, has {written(last['decoder'], 'bytes')}."
    )
    return [heading("What a stream keeps", words), pair(*figures)]
