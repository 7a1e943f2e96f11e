"""Charts as SVG: lines, dots and intervals over an axis, direct labels, and colours that a page's style decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from textwrap import wrap
from typing import Literal

from scannable.viewer.parts._scale import Axis, Scale
from scannable.viewer.parts._written import Number, written

STYLE = (resources.files("scannable.viewer.parts") / "chart.css").read_text(encoding="utf-8")
"""The colours and strokes of charts, light and dark."""

WIDTH, HEIGHT = 480, 290
LEFT, RIGHT, TOP, BOTTOM = 52, 142, 12, 44
LABEL, ROW = 17, 13
"""The least distance of two direct labels, and of two rows of one, in units of the drawing."""

CHARACTERS = 18
"""How many characters fit beside the lines; longer names get more rows."""

TONES = 4
"""Colours of series that one chart can tell apart; the one after them, a grey, is of what others are compared with."""

Point = tuple[Number, Number]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One series.

    Attributes:
        name: Its label, beside its last point.
        points: Its points from left to right.
        tone: Which colour of the page, from 0; 4 is grey.
        form: A plain line with dots, a dashed or a thin one without, only dots, or only rings, which show a line that
            lies under them.
        spans: The interval of each point, drawn upright through it; none by default.
        words: What is written beside each point; nothing by default.
    """

    name: str
    points: Sequence[Point]
    tone: int
    form: Literal["line", "dashed", "thin", "dots", "rings"] = "line"
    spans: Sequence[Point] = ()
    words: Sequence[str] = ()


def chart(
    title: str, lines: Sequence[Line], x: Axis, y: Axis, *, notes: Sequence[tuple[Number, str]] = ()
) -> str:
    """Draw series over a common x axis.

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
    heights = [point[1] for point in points] + [end for line in lines for span in line.spans for end in span]
    across = Scale(x, [point[0] for point in points], LEFT, WIDTH - RIGHT)
    up = Scale(y, heights, HEIGHT - BOTTOM, TOP)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="chart" aria-label="{escape(title)}">']
    parts += _grid(across, up)
    for line, some in kept:
        parts += _line(line, [(across(a), up(b)) for a, b in some], some, across, up)
    for place, words in notes:
        parts += _note(across(place), words)
    parts += _labels([(line, up(some[-1][1])) for line, some in kept if some])
    return "\n".join([*parts, "</svg>"])


def standalone(drawn: str) -> str:
    """Make a chart a file of its own, ``.svg``, with its style and a ground inside."""
    begin, _, rest = drawn.partition(">")
    begin = begin.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    return f'{begin}>\n<style>{STYLE}</style>\n<rect class="paper" width="100%" height="100%"/>{rest}\n'


def _grid(across: Scale, up: Scale) -> list[str]:
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


def _note(at: float, words: str) -> list[str]:
    """Mark a place on the x axis."""
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return [
        f'<line class="note" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>',
        f'<text class="note" x="{at + 5:.1f}" y="{middle:.0f}">{escape(words)}</text>',
    ]


def _line(
    line: Line, places: Sequence[Point], points: Sequence[Point], across: Scale, up: Scale
) -> list[str]:
    parts = [f'<g class="tone{line.tone} {line.form}">']
    if line.form in ("line", "dashed", "thin"):
        drawn = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(f'<polyline points="{drawn}"/>')
    for (at, _), (low, high) in zip(places, line.spans, strict=False):
        parts.append(
            f'<line class="span" x1="{at:.1f}" x2="{at:.1f}" y1="{up(low):.1f}" y2="{up(high):.1f}"/>'
        )
    if line.form != "thin":
        radius = {"rings": 5.5, "dots": 4}.get(line.form, 3)
        for (a, b), (value, height) in zip(places, points, strict=True):
            words = f"{line.name}: {written(height, up.axis.unit)} at {written(value, across.axis.unit)}"
            parts.append(
                f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{radius}"><title>{escape(words)}</title></circle>'
            )
    for (a, b), words in zip(places, line.words, strict=False):
        parts.append(f'<text x="{a + 8:.1f}" y="{b + 4:.1f}">{escape(words)}</text>')
    return [*parts, "</g>"]


def _labels(ends: Sequence[tuple[Line, float]]) -> list[str]:
    """Write each name beside its line's end, in short rows, pushed apart where ends are close."""
    ordered = sorted(ends, key=lambda end: end[1])
    names = [wrap(line.name, CHARACTERS) or [""] for line, _ in ordered]
    tall = [LABEL + ROW * (len(rows) - 1) for rows in names]
    heights = [end[1] for end in ordered]
    for place in range(1, len(heights)):
        heights[place] = max(heights[place], heights[place - 1] + tall[place - 1])
    below = HEIGHT - BOTTOM + 4 + LABEL
    for place in reversed(range(len(heights))):
        heights[place] = below = min(heights[place], below - tall[place])
    parts, x = [], WIDTH - RIGHT + 14
    for (line, _), rows, height in zip(ordered, names, heights, strict=True):
        parts.append(f'<g class="tone{line.tone} {line.form} label">')
        if line.form in ("rings", "dots"):
            parts.append(f'<circle cx="{x + 8}" cy="{height:.1f}" r="5"/>')
        else:
            parts.append(f'<polyline points="{x},{height:.1f} {x + 16},{height:.1f}"/>')
        parts += [
            f'<text x="{x + 22}" y="{height + 4 + ROW * row:.1f}">{escape(words)}</text>'
            for row, words in enumerate(rows)
        ]
        parts.append("</g>")
    return parts
