"""The figure of the family: what streams keep, and what training costs, against length."""

from typing import Any

from scannable.viewer.parts._figure import Line, Point, chart, standalone
from scannable.viewer.parts._scale import Axis

OTHERS = {"transformer-psm": ("Transformer-PSM", 1), "decoder": ("attention", 2)}


def family_figure(record: dict[str, Any]) -> str:
    """Draw the growth of streams from ``family.json`` as an SVG file.

    Bytes are divided by those at the shortest length. Of the affine rows the one that grows most is drawn.
    """
    affine = [entry for entry in record["models"] if entry["action"]]
    grown = {entry["name"]: _growth(entry) for entry in record["models"]}
    most = max((grown[entry["name"]] for entry in affine), key=lambda points: points[-1][1])
    lines = [Line(name=f"{len(affine)} affine rows", points=most, tone=0)]
    lines += [Line(name=name, points=grown[key], tone=tone) for key, (name, tone) in OTHERS.items()]
    top = max(height for line in lines for _, height in line.points)
    across = Axis(title="tokens read", log=True, ticks=[(n, f"{n:,}") for n, _ in most])
    up = Axis(title="", log=True, ticks=[(2**k, f"{2**k} x") for k in range(int(top).bit_length())])
    return standalone(chart("Growth of a stream with the tokens that it has read", lines, across, up))


def _growth(entry: dict[str, Any]) -> list[Point]:
    start = entry["points"][0]["bytes"]
    return [(point["length"], point["bytes"] / start) for point in entry["points"]]
