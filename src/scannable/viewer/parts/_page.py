"""A page that needs nothing else, and what it is made of: its style is inside, and it knows light and dark."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from importlib import resources

from scannable.viewer.parts._figure import STYLE as CHARTS
from scannable.viewer.parts._figure import Line, chart
from scannable.viewer.parts._scale import Axis
from scannable.viewer.parts._written import Number

STYLE = CHARTS + (resources.files("scannable.viewer.parts") / "page.css").read_text(encoding="utf-8")

Cell = str | tuple[str, str]
"""The text of a cell; or its text and its class, ``good`` or ``bad``."""


def page(title: str, *parts: str, style: str = STYLE, script: str = "") -> str:
    """Put parts of HTML together.

    The page's content security policy lets its style and its script in and nothing else, by their hashes: neither a
    request nor a piece of script that somebody wrote into a text can come from it.

    Args:
        title: The page's title.
        parts: HTML for its body.
        style: Its style.
        script: Its script; none by default.
    """
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        + (f"script-src '{_hash(script)}'; " if script else "")
        + "base-uri 'none'; form-action 'none'"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f'<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>\n<body>\n<main>\n'
        + "\n".join(parts)
        + "\n</main>\n"
        + (f"<script>{script}</script>\n" if script else "")
        + "</body>\n</html>\n"
    )


def top(origin: str, headline: str, words: str = "") -> str:
    """Begin a page: where it is from, what it shows in one sentence, and how that is meant."""
    return f'<p class="eyebrow">{escape(origin)}</p>\n<h1>{escape(headline)}</h1>' + (
        f"\n<p>{escape(words)}</p>" if words else ""
    )


def tiles(entries: Sequence[tuple[str, str, str]]) -> str:
    """Draw large figures: the figure, what it is, and its class."""
    inner = "".join(
        f'<div class="tile {kind}"><b>{escape(figure)}</b><span>{escape(what)}</span></div>\n'
        for figure, what, kind in entries
    )
    return f'<div class="tiles">\n{inner}</div>'


def heading(text: str, words: str = "") -> str:
    """Begin a section, with a sentence on what it shows."""
    return f"<h2>{escape(text)}</h2>" + (f'\n<p class="soft">{escape(words)}</p>' if words else "")


def card(inner: str, title: str = "") -> str:
    """Frame something."""
    return f'<div class="card">{f"<h3>{escape(title)}</h3>" if title else ""}\n{inner}\n</div>'


def pair(*cards: str) -> str:
    """Put cards beside each other where there is room."""
    return '<div class="pair">\n' + "\n".join(cards) + "\n</div>" if cards else ""


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Draw a table in a card; where it is too wide it scrolls, by keyboard too."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    return card(
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(title)}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>",
        title,
    )


def figure(
    title: str, lines: Sequence[Line], x: Axis, y: Axis, *, notes: Sequence[tuple[Number, str]] = ()
) -> str:
    """Draw a chart in a card."""
    return card(chart(title, lines, x, y, notes=notes), title)


def listing(text: str) -> str:
    """Show lines as they are, such as commands."""
    return f'<pre tabindex="0">{escape(text)}</pre>'


def folded(summary: str, inner: str) -> str:
    """Keep something out of sight until it is asked for."""
    return f"<details><summary>{escape(summary)}</summary>{inner}</details>"


def buttons(entries: Sequence[tuple[str, str, str]]) -> str:
    """Draw buttons: the key of each, its sign, and its name."""
    drawn = "".join(
        f'<button type="button" id="{key}" aria-label="{words}" title="{words}">{sign}</button>'
        for key, sign, words in entries
    )
    return f'<div class="buttons">{drawn}</div>'


def _cell(cell: Cell) -> str:
    text, kind = cell if isinstance(cell, tuple) else (cell, "")
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
