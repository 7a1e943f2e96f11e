"""The page of a trace: its parts in HTML, around the tree that its scripts draw."""

from typing import Any

from scannable.viewer._json import BYTES
from scannable.viewer.inside._file import FORMAT, KIND, LEAVES, SCHEMA, check_trace
from scannable.viewer.parts._interactive import interactive_page
from scannable.viewer.parts._page import buttons, card

_MOVES = (
    ("whole", "all", "Show the whole tree"),
    ("in", "+", "Zoom in"),
    ("out", "-", "Zoom out"),
    ("earlier", "◀", "Earlier chunks"),
    ("later", "▶", "Later chunks"),
    ("closer", "chosen", "Zoom to what is chosen"),
)
_SAVES = (("svg", "SVG", "Save the drawing as SVG"), ("png", "PNG", "Save the drawing as PNG"))


def trace_page(trace: dict[str, Any]) -> str:
    """Draw a run from the inside: a file that needs no other file and asks nobody for anything.

    The page also shows other traces, from files; it refuses what ``read_trace`` refuses.

    Args:
        trace: What ``trace`` or ``read_trace`` returned.

    Returns:
        HTML, with its style, its script and its data inside.

    Raises:
        ValueError: If it is no trace.
    """
    limits = {"format": FORMAT, "leaves": LEAVES, "bytes": BYTES, "kinds": KIND}
    return interactive_page(
        "scannable: a run from the inside",
        *_top(),
        '<div class="tiles" id="counts"></div>',
        _settings(),
        _inside(),
        _table("nodes-table", "All nodes as a table"),
        _table("tokens-table", "All tokens as a table"),
        styles=("inside/trace",),
        scripts=(
            "inside/file",
            "inside/values",
            "inside/colour",
            "inside/draw",
            "inside/tell",
            "inside/save",
            "inside/trace",
        ),
        data={"trace": check_trace(trace), "schema": SCHEMA, "limits": limits},
    )


def _top() -> list[str]:
    return [
        '<p class="eyebrow" id="origin">scannable</p>',
        '<h1 id="headline">A run from the inside</h1>',
        "<p>The model reads its input in chunks and makes a state of each: the lowest row. Every node above is the "
        "merge of the two states below it, as the model's own scan made it; the width of a line is the attention that "
        "the merge paid to that side, and what is written at a node is what its state says by itself. The row of "
        "prefixes tells which state each chunk was read with, that of all chunks before it. Where nodes no longer fit, "
        "a cell is the mean of several.</p>",
        "<noscript><p>This page draws with a script, which is switched off here.</p></noscript>",
        '<p id="notice" role="alert" hidden></p>',
    ]


def _settings() -> str:
    return (
        '<section class="card settings options" aria-label="What is shown">'
        '<label for="measure">Colour and size <select id="measure"></select></label>'
        f'<div class="group" role="group" aria-label="Part of the tree">Part: <output id="in-view"></output>'
        f"{buttons(_MOVES)}</div>"
        f'<div class="group" role="group" aria-label="Save">Save{buttons(_SAVES)}</div>'
        '<label for="file">Another trace <input type="file" id="file" accept=".json,application/json"></label>'
        "</section>"
    )


def _inside() -> str:
    tree = (
        '<p id="alone" hidden></p>'
        '<div id="map" tabindex="0" role="application" aria-describedby="keys" aria-label="The tree of the run"></div>'
        '<p class="soft" id="keys">Keys: up goes to the parent, down to the left child, left and right to the '
        "neighbours; plus, minus and 0 zoom, Enter zooms to what is chosen. The address holds what is shown.</p>"
        '<p class="unseen" id="spoken" aria-live="polite"></p>'
    )
    tokens = '<h2 id="tokens-title"></h2><p id="tokens" tabindex="0" role="region" aria-labelledby="tokens-title"></p>'
    return (
        f'<div class="inside"><div>{card(tree)}{card(tokens)}</div><div class="card" id="values"></div></div>'
    )


def _table(key: str, words: str) -> str:
    return f'<details class="card"><summary>{words}</summary><div id="{key}"></div></details>'
