"""The sections of the demo's page that bear out its headline: proof and training."""

from typing import Any

from scannable.viewer.parts._figure import Line
from scannable.viewer.parts._page import Cell, figure, heading, pair, table
from scannable.viewer.parts._scale import Axis
from scannable.viewer.parts._written import minutes, short

Record = dict[str, Any]

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
        f"begin and end anywhere, against the parallel form. In float64 nothing but rounding may differ; in float32 "
        f"the stream's error may be at most 1.5 times that of the parallel form, and the predictions must be the same."
    )
    return [
        heading("Two forms, one function" if found["passed"] else "Two forms, but not one function", words),
        table("What the checker found", ["finding", "measured", "bound", "verdict"], findings),
        table(
            "Way by way: distance in float64; error in float32, its ratio to the parallel form's, and the largest",
            keys,
            rows,
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
            figures.append(figure(title, lines, Axis(title="step"), Axis(title="")))
    rows: list[list[Cell]] = [
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
        f"The {NAMES[name]} learns lengths {', '.join(map(str, some))} and then {record['lengths']['trained']}, each "
        f"when the one before is solved on fresh words."
        if some
        else f"The {NAMES[name]} has words of all lengths up to {record['lengths']['trained']} from the start."
        for name, some in stages.items()
    )
    return [
        heading("Training", words),
        pair(*figures),
        table(
            "What training took", ["model", "parameters", "steps", "time", "reached length", "verdict"], rows
        ),
    ]
