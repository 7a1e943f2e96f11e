"""The section of the family: a table whose rows draw ``E_t``, and show what it does at a small memory task."""

import re
from html import escape
from unicodedata import lookup

from torch import Tensor

from scannable.viewer.family._drawing import LETTERS, empty, film, glyph, vector
from scannable.viewer.family._example import KINDS, Example, examples
from scannable.viewer.family._weights import KEEP, KEYS, STORY

RIGHT = {write[1]: write[0] for write in STORY if write}
"""What a memory without fault answers to each key."""

_SAID = {
    "identity": "Nothing is ever forgotten: old and new values add up.",
    "scalar": "One number for the whole memory: to forget one thing is to forget everything.",
    "diagonal": "A number for each channel or entry: what shares channels with key 1 goes with it, the rest may stay.",
    "projector": "Identity minus a projector onto the key: what was stored at this key goes, and nothing else.",
    "dense": "A matrix of another kind.",
}


def family_section() -> str:
    """Draw the family as static HTML and SVG: it needs its style, ``family.css``, and no script."""
    found = examples()
    grouped = {kind: [one for one in found if one.kind == kind] for kind in KINDS}
    grouped = {kind: some for kind, some in grouped.items() if some}
    asked = "".join(f'<th scope="col">Key {key}?</th>' for key in RIGHT)
    return (
        '<section class="card family" aria-labelledby="family-title">'
        '<h2 id="family-title">The family: where the operator is associative</h2>'
        f'{_story()}{_kinds(grouped)}{_legend()}<table><thead><tr><th scope="col">Row</th>'
        f'<th scope="col">E<sub>t</sub></th><th scope="col">Token by token</th>{asked}</tr></thead>'
        f"{''.join(_body(kind, some) for kind, some in grouped.items())}</table></section>"
    )


def _story() -> str:
    tokens = "".join(
        "<li>rest</li>" if write is None else f"<li>write <b>{write[0]}</b> at key {write[1]}</li>"
        for write in STORY
    )
    *most, last = (f"<b>{letter}</b> at key {key}" for key, letter in RIGHT.items())
    return (
        "<p>If a state is only ever multiplied and added to, <b>s<sub>t</sub> = E<sub>t</sub> s<sub>t-1</sub> + "
        "f<sub>t</sub></b>, then two such updates after each other are one more of the kind. So brackets do not "
        "matter, and a stream keeps one state in place of a root for each digit. Linear attention, DeltaNet and Mamba "
        "are of this form. They differ in what E<sub>t</sub> is, and so in what they can forget.</p>"
        f'<ol class="story">{tokens}</ol><p>All of them read this story. The last letter takes the place of the first, '
        f"so a memory without fault answers {', '.join(most)} and {last}.</p>"
    )


def _kinds(grouped: dict[str, list[Example]]) -> str:
    tiles = "".join(
        f"<li>{glyph(kind)}<div><b>{kind.capitalize()}</b><p>{_SAID[kind]}</p>"
        f'<p class="soft">{escape(", ".join(one.row.title for one in some))}</p></div></li>'
        for kind, some in grouped.items()
    )
    return (
        f'<ul class="kinds">{tiles}</ul><p class="soft">Dashed: memories of one size. Blue: what E<sub>t</sub> makes '
        "of them. The arrow is the key. Which kind a row is of is read off the numbers of its E<sub>t</sub>.</p>"
    )


def _legend() -> str:
    keys = "".join(f"<li>key {place} {vector(key)}</li>" for place, key in enumerate(KEYS, 1))
    return (
        f'{empty()}<h3>How to read the table</h3><ul class="keys">{keys}</ul>'
        "<p>A memory is a square of numbers: four channels of keys from above, the letters a to d from the left. Keys "
        "stand at right angles, and keys 1 and 2 use the same two channels. Blue is positive; orange, with a bar, is "
        "negative; paler is smaller. Under each memory is what it answers to the three keys: the larger a letter, the "
        "more of it. Hover for numbers.</p>"
        "<p>The layers are the library's own, with weights set by hand. A gate sees the token and not the memory: with "
        "d it may know that key 1 is written again, but not that a is there. Where a row lets it, it "
        f"keeps {KEEP} with d, and all with other tokens.</p>"
    )


def _body(kind: str, some: list[Example]) -> str:
    head = f'<tr class="kind"><th scope="rowgroup" colspan="6"><b>{kind.capitalize()}</b> {_SAID[kind]}</th></tr>'
    return f"<tbody>{head}{''.join(map(_row, some))}</tbody>"


def _row(one: Example) -> str:
    row = one.row
    beyond = "" if one.listed else ' <span class="beyond">beyond the paper\'s ten</span>'
    about = (
        f"<b>{escape(row.title)}</b>{beyond}"
        f'<span class="formula">E<sub>t</sub> = {_typeset(row.element)}</span>'
        f'<span class="formula">f<sub>t</sub> = {_typeset(row.shift)}</span>'
        f'<span class="note">{_typeset(one.note)}</span><span class="note source">{escape(row.reference)}</span>'
    )
    last = [_answer(heard, "\N{NO-BREAK SPACE}") for heard in one.answers[-1]]
    answers = "".join(
        f'<td class="answer{" right" if text == RIGHT[key] else ""}" data-key="key {key}?">{text}</td>'
        for key, text in enumerate(last, 1)
    )
    kind = f"{one.kind}, entry by entry" if one.entrywise else one.kind
    return (
        f'<tr data-row="{escape(row.name)}"><th scope="row">{about}</th><td class="drawn">{glyph(one.kind)}'
        f'<span>{kind}</span></td><td class="shown">{film(one, _words(one))}</td>{answers}</tr>'
    )


def _answer(heard: Tensor, space: str = " ") -> str:
    """Write an answer as a sum of letters; what is below 0.02 is left out."""
    terms = [
        ("-" if value < 0 else "+", "" if abs(abs(value) - 1) < 0.005 else f"{abs(value):.2f}{space}", letter)
        for letter, value in zip(LETTERS, heard.tolist(), strict=True)
        if abs(value) >= 0.02
    ]
    return (
        " ".join(f"{sign}{space}{size}{letter}" for sign, size, letter in terms).removeprefix(f"+{space}")
        or "nothing"
    )


def _words(one: Example) -> str:
    """Tell the film: what each token's element is, and what is then answered."""
    frames = []
    for place, write in enumerate(STORY):
        token = "rest" if write is None else f"{write[0]} at key {write[1]}"
        heard = "; ".join(f"key {key}: {_answer(line)}" for key, line in enumerate(one.answers[place], 1))
        frames.append(f"{token}: E is {one.kinds[place]}, then {heard}.")
    return f"{one.row.title}, token by token. {' '.join(frames)}"


def _typeset(formula: str) -> str:
    """Lower what follows ``_``, raise what follows ``^``, and write Greek letters."""
    for name in ("delta", "phi"):
        formula = formula.replace(name, lookup(f"GREEK SMALL LETTER {name.upper()}"))
    lowered = re.sub(r"_(\{[^}]*\}|\w+)", lambda found: f"<sub>{found[1].strip('{}')}</sub>", escape(formula))
    return re.sub(r"\^(\([^)]*\)|\w+)", lambda found: f"<sup>{found[1].strip('()')}</sup>", lowered)
