"""The sections of the demo's page that bear out its headline: proof, training, origin."""

import json
from html import escape
from typing import Any

from scannable.viewer._figure import Axis, Line, chart
from scannable.viewer._page import card, heading, pair, table

Record = dict[str, Any]

REPRODUCE = """make demo                  # or: scannable demo
scannable evaluate demo/psm --form streaming
scannable verify demo/psm"""
PAPER = (
    "The model is that of Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918; "
    "the codebook that closes its algebra is ours."
)

NAMES = {"psm": "Transformer-PSM", "decoder": "decoder"}
SHORT = {"psm": "PSM", "decoder": "decoder"}


def duality(record: Record) -> list[str]:
    """Show the reports of the checker."""
    found = record["duality"]
    keys = list(dict.fromkeys(key for row in found["table"] for key in row))
    rows = [[short(row.get(key)) for key in keys] for row in found["table"]]
    mark = {True: ("holds", "good"), False: ("broken", "bad"), None: ""}
    findings = [[f["what"], short(f["measured"]), f["bound"], mark[f["passed"]]] for f in found["findings"]]
    words = (
        f"The trained model, {found['subject']}: every way of reading the same words, token by token or in pieces that "
        f"begin and end anywhere, against the parallel form. In float64 nothing but rounding may differ; in "
        f"float32 the "
        f"stream's error may be at most 1.5 times that of the parallel form, and the predictions must be the same."
    )
    return [
        heading("Two forms, one function", words),
        card(table(["finding", "measured", "bound", ""], findings)),
        card(
            table(keys, rows),
            "Way by way: distance in float64; error in float32, its ratio to the parallel form's, and the largest",
        ),
    ]


def training(record: Record) -> list[str]:
    """Show how both models came about."""
    figures = []
    histories = {
        name: [e for e in run["history"] if e["event"] == "progress"] for name, run in record["runs"].items()
    }
    for key, title in (
        ("loss", "Loss, at the lengths drawn at that step"),
        ("length", "Length that is being learned"),
    ):
        lines = [
            Line(
                name=SHORT[name],
                points=[(e["step"], e[key]) for e in events],
                tone=int(name == "decoder"),
                form="thin",
            )
            for name, events in histories.items()
        ]
        if any(line.points for line in lines):
            figures.append(card(chart(title, lines, Axis(title="step"), Axis(title="")), title))
    rows = [
        [
            NAMES[name],
            f"{run['parameters']:,}",
            f"{run['steps']:,}",
            minutes(run["seconds"]),
            f"{run['length']:,}",
            ("solved", "good") if run["solved"] else "not solved",
        ]
        for name, run in record["runs"].items()
    ]
    stages = {name: record["config"][name]["curriculum"]["stages"] for name in NAMES}
    words = " ".join(
        f"The {NAMES[name]} learns lengths {', '.join(map(str, some))} and then "
        f"{record['lengths']['trained']}, each when the "
        f"one before is solved on fresh words."
        if some
        else f"The {NAMES[name]} has words of all lengths up to {record['lengths']['trained']} from the start."
        for name, some in stages.items()
    )
    return [
        heading("Training", words),
        pair(*figures),
        card(table(["model", "parameters", "steps", "time", "reached length", ""], rows)),
    ]


def origin(record: Record) -> list[str]:
    """Say what it was measured with, and how to do it again."""
    environment = record["environment"]
    rows = [[name, str(value)] for name, value in environment.items()]
    rows += [[f"seconds, {name}", f"{value:,.0f}"] for name, value in record["seconds"].items()]
    config = escape(json.dumps(record["config"], indent=1))
    return [
        heading("How this page was made", "All figures were measured by one command, on the machine below."),
        f"<pre>{REPRODUCE}</pre>",
        card(table(["where", ""], rows)),
        f"<details><summary>The whole configuration</summary><pre>{config}</pre></details>",
        f'<p class="soft">{PAPER}</p>',
    ]


def short(value: Any) -> str:
    """Write a measurement in a few characters."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def minutes(seconds: int | float) -> str:
    """Write a span of time."""
    return f"{seconds:.0f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
