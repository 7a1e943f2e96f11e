"""Line charts as SVG: axes, logarithmic scales, direct labels, and colours that a page's style decides."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Literal

STYLE = (resources.files("scannable.viewer") / "chart.css").read_text(encoding="utf-8")
"""The colours and strokes of charts, light and dark."""

WIDTH, HEIGHT = 480, 290
LEFT, RIGHT, TOP, BOTTOM = 52, 142, 12, 44
LABEL = 17
"""The least distance of two direct labels, in units of the drawing."""

Unit = Literal["number", "percent", "bytes", "seconds"]
Number = int | float
Point = tuple[Number, Number]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One series.

    Attributes:
        name: Its label, beside its last point.
        points: Its points from left to right.
        tone: Which colour of the page, from 0.
        form: A plain line with dots, a dashed one, or only rings, which show a line that lies under them.
    """

    name: str
    points: Sequence[Point]
    tone: int
    form: Literal["line", "dashed", "rings", "thin"] = "line"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
        title: What it measures.
        log: Whether its scale is logarithmic.
        unit: How its numbers are written.
        ends: Its smallest and largest value; left out, those of the points.
        ticks: Values and their labels; left out, round ones.
    """

    title: str
    log: bool = False
    unit: Unit = "number"
    ends: tuple[Number, Number] | None = None
    ticks: Sequence[tuple[Number, str]] = ()


def chart(
    title: str, lines: Sequence[Line], x: Axis, y: Axis, *, notes: Sequence[tuple[Number, str]] = ()
) -> str:
    """Draw lines over a common x axis.

    Args:
        title: What a screen reader says.
        lines: The series; points that a logarithmic axis does not have are left out.
        x: The axis below.
        y: The axis on the left.
        notes: Places on the x axis to be marked by an upright line, and the words beside it.
    """
    kept = [
        (line, [p for p in line.points if (p[0] > 0 or not x.log) and (p[1] > 0 or not y.log)])
        for line in lines
    ]
    points = [point for _, some in kept for point in some]
    if not points:
        raise ValueError(f"A chart needs at least one point, got none for {title!r}; leave the chart out.")
    across = _Scale(x, [point[0] for point in points], LEFT, WIDTH - RIGHT)
    up = _Scale(y, [point[1] for point in points], HEIGHT - BOTTOM, TOP)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="chart" aria-label="{escape(title)}">']
    parts += _grid(across, up)
    for place, words in notes:
        at = across(place)
        parts.append(f'<line class="note" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text class="note" x="{at + 5:.1f}" y="{(TOP + HEIGHT - BOTTOM) / 2:.0f}">{escape(words)}</text>'
        )
    for line, some in kept:
        parts += _line(line, [(across(a), up(b)) for a, b in some], some, across, up)
    parts += _labels([(line, up(some[-1][1]), across(some[-1][0])) for line, some in kept if some])
    return "\n".join([*parts, "</svg>"])


def standalone(drawn: str) -> str:
    """Make a chart a file of its own, ``.svg``, with its style and a ground inside."""
    begin, _, rest = drawn.partition(">")
    begin = begin.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    return f'{begin}>\n<style>{STYLE}</style>\n<rect class="paper" width="100%" height="100%"/>{rest}\n'


def written(value: Number, unit: Unit) -> str:
    """Write a number as an axis or a table shows it."""
    match unit:
        case "percent":
            return f"{100 * value:.3g} %"
        case "bytes":
            for name in ("B", "KB", "MB"):
                if value < 1000:
                    return f"{value:.3g} {name}"
                value /= 1000
            return f"{value:.3g} GB"
        case "seconds":
            return f"{1e3 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
        case _:
            return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"


class _Scale:
    """From values to places between two ends of the drawing."""

    def __init__(self, axis: Axis, values: Sequence[Number], start: Number, stop: Number) -> None:
        low, high = axis.ends or (min(values), max(values))
        if axis.ends is None and not axis.log:
            low = min(0.0, low)
        if low == high:
            low, high = (low / 2, high * 2) if axis.log else (low, high + 1)
        self.axis, self.start, self.stop = axis, start, stop
        self._low, self._high = (math.log10(low), math.log10(high)) if axis.log else (low, high)

    def __call__(self, value: Number) -> float:
        place = math.log10(value) if self.axis.log else value
        return self.start + (place - self._low) / (self._high - self._low) * (self.stop - self.start)

    def ticks(self) -> list[tuple[Number, str]]:
        """Return round values inside, with labels."""
        if self.axis.ticks:
            return list(self.axis.ticks)
        low, high = self._low, self._high
        if self.axis.log:
            values = [10.0**power for power in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
        else:
            rough = (high - low) / 5
            base = 10 ** math.floor(math.log10(rough))
            step = next(times * base for times in (1, 2, 2.5, 5, 10) if times * base >= rough)
            values = [
                step * place for place in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)
            ]
        return [(value, written(value, self.axis.unit)) for value in values]


def _grid(across: _Scale, up: _Scale) -> list[str]:
    parts = []
    for value, words in up.ticks():
        at = up(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{escape(words)}</text>'
        )
    for value, words in across.ticks():
        at, floor = across(value), HEIGHT - BOTTOM
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{floor}" y2="{floor + 5}"/>')
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{floor + 19}" text-anchor="middle">{escape(words)}</text>'
        )
    floor, middle = HEIGHT - BOTTOM, (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>')
    parts.append(
        f'<text class="title" x="{middle:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(across.axis.title)}</text>'
    )
    return parts


def _line(
    line: Line, places: Sequence[Point], points: Sequence[Point], across: _Scale, up: _Scale
) -> list[str]:
    parts = [f'<g class="tone{line.tone} {line.form}">']
    if line.form != "rings":
        drawn = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(f'<polyline points="{drawn}"/>')
    if line.form != "thin":
        radius = 5.5 if line.form == "rings" else 3
        for (a, b), (value, height) in zip(places, points, strict=True):
            words = f"{line.name}: {written(height, up.axis.unit)} at {written(value, across.axis.unit)}"
            parts.append(
                f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{radius}"><title>{escape(words)}</title></circle>'
            )
    return [*parts, "</g>"]


def _labels(ends: Sequence[tuple[Line, float, float]]) -> list[str]:
    """Write each name beside its line's end, pushed apart where ends are close."""
    ordered = sorted(ends, key=lambda end: end[1])
    heights = [end[1] for end in ordered]
    for place in range(1, len(heights)):
        heights[place] = max(heights[place], heights[place - 1] + LABEL)
    floor = HEIGHT - BOTTOM + 4
    for place in reversed(range(len(heights))):
        above = floor if place == len(heights) - 1 else heights[place + 1] - LABEL
        heights[place] = min(heights[place], above)
    parts, x = [], WIDTH - RIGHT + 14
    for (line, _, _), height in zip(ordered, heights, strict=True):
        parts.append(f'<g class="tone{line.tone} {line.form} label">')
        if line.form == "rings":
            parts.append(f'<circle cx="{x + 8}" cy="{height:.1f}" r="5"/>')
        else:
            parts.append(f'<polyline points="{x},{height:.1f} {x + 16},{height:.1f}"/>')
        parts.append(f'<text x="{x + 22}" y="{height + 4:.1f}">{escape(line.name)}</text></g>')
    return parts
