"""A page that needs nothing else: its style is inside, it has no scripts, and it knows light and dark."""

from collections.abc import Sequence
from html import escape
from importlib import resources

from scannable.viewer._figure import STYLE as CHARTS

STYLE = CHARTS + (resources.files("scannable.viewer") / "page.css").read_text(encoding="utf-8")


def page(title: str, *parts: str) -> str:
    """Put parts of HTML together."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str | tuple[str, str]]]) -> str:
    """Draw a table; a cell may be a pair of its text and its class."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


def tiles(entries: Sequence[tuple[str, str, str]]) -> str:
    """Draw large figures: the figure, what it is, and its class."""
    inner = "".join(
        f'<div class="tile {kind}"><b>{escape(figure)}</b><span>{escape(what)}</span></div>\n'
        for figure, what, kind in entries
    )
    return f'<div class="tiles">\n{inner}</div>'


def card(inner: str, heading: str = "") -> str:
    """Frame a chart or a table."""
    return f'<div class="card">{f"<h3>{escape(heading)}</h3>" if heading else ""}\n{inner}\n</div>'


def pair(*cards: str) -> str:
    """Put cards beside each other where there is room."""
    return '<div class="pair">\n' + "\n".join(cards) + "\n</div>"


def heading(text: str, words: str = "") -> str:
    """Begin a section, with a sentence on what it shows."""
    return f"<h2>{escape(text)}</h2>" + (f'\n<p class="soft">{escape(words)}</p>' if words else "")


def _cell(cell: str | tuple[str, str]) -> str:
    text, kind = cell if isinstance(cell, tuple) else (cell, "")
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"
