"""A page with a script: its style, its data and its script are inside, and its policy forbids everything else."""

import json
from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib import resources
from typing import Any

from scannable.viewer._page import STYLE


def interactive_page(title: str, *parts: str, name: str, data: Any) -> str:
    """Put parts of HTML, a style, a script, and the data that it reads together.

    The page's content security policy lets this script and this style in and nothing else, by their hashes:
    neither a request nor a piece of script that somebody typed can come from it.

    Args:
        title: The page's title.
        parts: HTML for its body.
        name: Of the page's own style and script, ``NAME.css`` and ``NAME.js``; those of all such pages come before.
        data: What the script finds as JSON in the element ``data``.
    """
    style = STYLE + _file("interactive.css") + _file(f"{name}.css")
    script = _file("base.js") + _file(f"{name}.js")
    # In JSON "<" occurs in strings only, so an escape can take its place and nothing can end the element.
    content = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        f"base-uri 'none'; form-action 'none'"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f'<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>\n<body>\n<main>\n'
        + "\n".join(parts)
        + f'\n</main>\n<script type="application/json" id="data">{content}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _file(name: str) -> str:
    return (resources.files("scannable.viewer") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
