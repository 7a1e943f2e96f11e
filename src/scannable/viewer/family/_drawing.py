"""The drawings of the family: a kind of element as what it makes of a circle, and films of small matrices."""

from collections.abc import Iterator
from html import escape

from torch import Tensor

from scannable.viewer.family._example import Example
from scannable.viewer.family._weights import STORY

CELL, APART, FRAME, LEFT = 11, 4, 69, 64
"""The side of a cell, what is between letters and normaliser, the width of a frame, and that of the names beside."""
ROWS = (("E", "keeps", 24), ("f", "+ writes", 75), ("s", "= holds", 126))
"""What a frame shows: its letter, its part in the equation, and where it begins from above."""
ANSWERS, LINE = 177, 15
"""Where the answers begin, and the height of one."""
LETTERS = "abcd"

_IMAGES = {
    "identity": '<circle class="image" r="21"/>',
    "scalar": '<circle class="image" r="9"/>',
    "diagonal": '<ellipse class="image" rx="8" ry="21"/>',
    "projector": '<path class="image" d="M-15-15 15 15"/><path class="key" d="M0 0 12-12M6.5-12.5h6v6"/>',
    "dense": '<ellipse class="image" rx="8" ry="17" transform="rotate(30)"/>',
}


def glyph(kind: str) -> str:
    """Draw what an element of a kind makes of a circle, the memories of one size; its form alone tells the kind."""
    return (
        f'<svg class="glyph" viewBox="-27 -27 54 54" role="img" aria-label="{kind}">'
        f'<path class="axes" d="M-26 0H26M0-26V26"/><circle class="before" r="21"/>{_IMAGES[kind]}</svg>'
    )


def empty() -> str:
    """Define the empty cells that all matrices of a page refer to."""
    return (
        f'<svg class="empty" aria-hidden="true"><defs>{_cells(1, 4)}{_cells(4, 4)}{_cells(4, 1)}</defs></svg>'
    )


def vector(values: Tensor) -> str:
    """Draw a vector as a row of cells."""
    width, height = CELL * len(values) + 2, CELL + 2
    return f'<svg class="vector" viewBox="-1 -1 {width} {height}" aria-hidden="true">{_matrix(values[None], 1.0)}</svg>'


def film(one: Example, words: str) -> str:
    """Draw a row of the family at its task: a frame for each token.

    Args:
        one: What is drawn.
        words: What a screen reader says.
    """
    width, height = LEFT + FRAME * len(STORY) - 8, ANSWERS + 3 * LINE + 4
    largest = float(max(one.shifts.abs().max(), one.states.abs().max()))
    parts = [
        f'<svg class="film" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words)}">',
        *_names(),
    ]
    for place, write in enumerate(STORY):
        left = LEFT + FRAME * place
        token = "rest" if write is None else f"{write[0]} at {write[1]}"
        parts.append(f'<text class="token" x="{left + 2 * CELL}" y="14">{token}</text>')
        shown = (one.elements, 1.0), (one.shifts, largest), (one.states, largest)
        for (letter, _, top), (values, scale) in zip(ROWS, shown, strict=True):
            kind = f", {one.kinds[place]}" if letter == "E" else ""
            title = f"{letter}_{place + 1}{kind}, {token}\n{_numbers(values[place])}"
            parts.append(_group(left, top, title, _matrix(values[place], scale)))
        answers = one.answers[place]
        title = f"answers to the three keys, {token}\n{_numbers(answers)}"
        parts.append(_group(left, ANSWERS, title, "".join(_heard(answers))))
    return "".join([*parts, "</svg>"])


def _names() -> Iterator[str]:
    decisive = [place for place, write in enumerate(STORY) if write][-1]
    yield f'<rect class="decisive" x="{LEFT + FRAME * decisive - 7}" width="{FRAME - 4}" height="100%" rx="7"/>'
    for letter, words, top in ROWS:
        yield f'<text class="name" x="0" y="{top + 18}">{letter}<tspan class="index" dy="3">t</tspan></text>'
        yield f'<text class="part" x="0" y="{top + 36}">{words}</text>'
    for key in range(3):
        yield f'<text class="part" x="0" y="{ANSWERS + LINE * key + 12}">key {key + 1}?</text>'


def _group(left: int, top: int, title: str, inner: str) -> str:
    return f'<g transform="translate({left} {top})"><title>{title}</title>{inner}</g>'


def _cells(rows: int, columns: int) -> str:
    width, height = CELL * columns, CELL * rows
    lines = [f"M0 {CELL * row}h{width}" for row in range(rows + 1)]
    lines += [f"M{CELL * column} 0v{height}" for column in range(columns + 1)]
    return (
        f'<g id="cells{rows}x{columns}"><rect class="ground" width="{width}" height="{height}"/>'
        f'<path class="lines" d="{"".join(lines)}"/></g>'
    )


def _matrix(values: Tensor, scale: float) -> str:
    """Draw numbers as cells: paler where they are smaller, with a bar where negative, and empty where zero."""
    rows, columns = values.shape
    parts = [f'<use href="#cells{rows}x4"/>']
    if columns > 4:
        parts.append(f'<use href="#cells{rows}x1" x="{4 * CELL + APART}"/>')
    alike: dict[tuple[bool, float], list[tuple[int, int]]] = {}
    for row, line in enumerate(values.tolist()):
        for column, value in enumerate(line):
            if abs(value) >= 0.005 * scale:
                shade = max(0.05, min(1.0, round(20 * abs(value) / scale) / 20))
                at = CELL * column + (APART if column > 3 else 0), CELL * row
                alike.setdefault((value < 0, shade), []).append(at)
    for (negative, shade), places in alike.items():
        squares = "".join(f"M{x} {y}h{CELL}v{CELL}h-{CELL}z" for x, y in places)
        name = "less" if negative else "more"
        parts.append(f'<path class="{name}" fill-opacity="{shade:.2g}" d="{squares}"/>')
        if negative:
            bars = "".join(f"M{x + 3} {y + CELL / 2}h{CELL - 6}" for x, y in places)
            parts.append(f'<path class="bar" stroke-opacity="{max(0.4, shade):.2g}" d="{bars}"/>')
    return "".join(parts)


def _heard(answers: Tensor) -> Iterator[str]:
    """Write answers as letters whose size says how much of each is heard."""
    yield f'<rect class="nothing" width="{4 * CELL}" height="{3 * LINE}"/>'
    silent = ""
    for row, line in enumerate(answers.tolist()):
        for letter, value, middle in zip(LETTERS, line, (5.5, 16.5, 27.5, 38.5), strict=True):
            if abs(value) < 0.02:
                silent += f"M{middle - 1} {LINE * row + 9}h2"
                continue
            name = ' class="less"' if value < 0 else ""
            size = 15 * min(1.2, abs(value)) ** 0.5
            yield f'<text{name} x="{middle}" y="{LINE * row + 12}" font-size="{size:.1f}">{letter}</text>'
    yield f'<path class="silent" d="{silent}"/>'


def _numbers(values: Tensor) -> str:
    return "\n".join(
        "  ".join("0" if abs(value) < 5e-4 else f"{value:.2g}" for value in line) for line in values.tolist()
    )
