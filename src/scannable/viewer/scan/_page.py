"""The page on which one steps through a scan: its parts in HTML, around the plan that its scripts draw."""

from dataclasses import asdict
from html import escape

from scannable.viewer.family._section import family_section
from scannable.viewer.parts._interactive import interactive_page
from scannable.viewer.parts._page import buttons, card
from scannable.viewer.scan._operators import OPERATORS
from scannable.viewer.scan._plan import LONGEST, plan

_FORMS = {"both": "side by side", "parallel": "parallel", "streaming": "streaming"}
_SPEEDS = {"1": "normal speed", "0.4": "faster", "0.15": "fast", "2": "slow"}
"""How many seconds a step takes, and its name."""


def scan_page() -> str:
    """Draw the page of the scan: a file that needs no other file and asks nobody for anything.

    What is merged with what, and when, is in the page as the library's own scan and counter did it for every length
    up to 32; its script applies the chosen operator to leaves, and shows the steps. Below stands the affine family, for
    which brackets do not matter, and what each of its rows makes of a small memory task.

    Returns:
        HTML, with its style, its script and its data inside.
    """
    return interactive_page(
        "scannable: a scan, step by step",
        *_top(),
        f"<div>{_settings()}{_transport()}{_panels()}{_prefixes()}</div>",
        family_section(),
        styles=("scan/scan", "family/family"),
        scripts=("scan/plan", "scan/tree", "scan/counter", "scan/counts", "scan/tell", "scan/scan"),
        data={"plan": asdict(plan()), "operators": [asdict(operator) for operator in OPERATORS]},
    )


def _top() -> list[str]:
    return [
        '<p class="eyebrow">scannable</p>',
        "<h1>One scan, two programs, the same merges</h1>",
        "<p>A scan gives the state of every prefix of a sequence. Over a tree it needs few batched calls; as a binary "
        "counter it reads a stream and keeps few states. Both put the brackets at the same places, the binary digits "
        "of the prefix's length, so they agree for any operator, associative or not.</p>",
        "<noscript><p>The scan is drawn by a script, and scripts are off. The family below needs none.</p></noscript>",
        '<p id="notice" role="alert" hidden></p>',
    ]


def _settings() -> str:
    operators = "".join(f'<option value="{o.key}">{escape(o.name)}</option>' for o in OPERATORS)
    forms = "".join(
        f'<label><input type="radio" name="form" value="{key}"> {name}</label>'
        for key, name in _FORMS.items()
    )
    return (
        '<section class="card settings" aria-label="What is scanned">'
        f'<label for="operator">Operator <select id="operator">{operators}</select></label>'
        f'<label for="length">Chunks, a leaf each <output id="length-shown"></output>'
        f'<input type="range" id="length" min="1" max="{LONGEST}" step="1"></label>'
        '<label for="leaves" class="wide">Leaves, with spaces between them'
        '<input type="text" id="leaves" autocomplete="off" spellcheck="false" aria-describedby="typed problem"></label>'
        f'<fieldset class="choice"><legend>Form</legend>{forms}</fieldset>'
        '<label class="check" for="refold"><input type="checkbox" id="refold"> fold all roots again after each chunk, '
        "as the authors' code does</label>"
        '<p class="soft wide" id="typed"></p><p class="wide" id="problem" role="alert" hidden></p>'
        "</section>"
    )


def _transport() -> str:
    moves = (
        ("first", "|◀", "First step"),
        ("back", "◀", "One step back"),
        ("play", "▶ play", "Play"),
        ("next", "▶", "One step on"),
        ("last", "▶|", "Last step"),
    )
    speeds = "".join(f'<option value="{slow}">{name}</option>' for slow, name in _SPEEDS.items())
    return (
        '<section class="card transport" aria-label="Steps">'
        f"{buttons(moves)}"
        '<input type="range" id="scrub" min="0" step="1" aria-label="Step">'
        '<output id="step-shown" for="scrub"></output>'
        f'<select id="speed" aria-label="Speed">{speeds}</select>'
        '<p id="words" aria-live="polite"></p></section>'
    )


def _panels() -> str:
    tree = (
        '<h2>In parallel: up, then down</h2><p class="soft">Each row is one batched call. Bars are perfect trees, '
        'made on the way up; what stands below them are prefixes, made on the way down.</p><div id="tree"></div>'
        '<div class="now" id="tree-now" role="region" aria-label="Merges of this step, in parallel" tabindex="0"></div>'
    )
    counter = (
        '<h2>As a stream: a binary counter</h2><p class="soft">A chunk carries like an odometer; each digit 1 keeps '
        'the root of a tree, and the fold of all roots from the oldest to that one.</p><div id="counter"></div>'
        '<div class="now" id="counter-now" role="region" aria-label="Merges of this step, streaming" tabindex="0">'
        '</div><h3 id="ledger-title">Merges, chunk by chunk</h3>'
        '<div id="ledger" role="region" aria-labelledby="ledger-title" tabindex="0"></div>'
    )
    counts = f'<div class="tiles" id="counts"></div>{_formulas()}'
    return f'<div class="sides"><div>{card(tree)}{counts}</div>{card(counter)}</div>'


def _formulas() -> str:
    return (
        '<details class="formulas"><summary>What the formulas count</summary><ul>'
        "<li>Merges of either form: twice the number of chunks, less its binary ones, less its binary digits.</li>"
        "<li>Depth in parallel, each call waiting for the one before: a call up for each of 2, 4, 8, ... and a call "
        "down for each of 3, 6, 12, ... that is not above the number of chunks.</li>"
        "<li>Depth of a prefix in the stream: the height of its oldest tree, which is the digits less 1, and a merge "
        "for each further root, which is the ones less 1. No prefix is deeper than the calls in parallel.</li>"
        "<li>Roots: the ones, a perfect tree each.</li></ul></details>"
    )


def _prefixes() -> str:
    inner = (
        '<h2>The prefixes</h2><p id="verdict"></p>'
        '<div id="prefixes" role="region" aria-label="Table of prefixes" tabindex="0"></div>'
        '<p class="soft">Keys: arrows step, Home and End jump, the space bar plays and pauses. The address of this '
        "page holds its state, so a link shows the same step.</p>"
    )
    return card(inner)
