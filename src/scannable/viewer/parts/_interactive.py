"""A page with a script: its style, its data and its script are inside, and its policy forbids everything else."""

import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from scannable.viewer.parts._page import STYLE, page


def interactive_page(
    title: str, *parts: str, styles: Sequence[str], scripts: Sequence[str], data: Any
) -> str:
    """Put parts of HTML, style sheets, scripts, and the data that they read together.

    Args:
        title: The page's title.
        parts: HTML for its body.
        styles: Its own sheets, ``FOLDER/NAME.css``; after those of all pages.
        scripts: Its own scripts, ``FOLDER/NAME.js``, which become one, in this order; after that of all such pages.
        data: What the script finds as JSON in the element ``data``.
    """
    # In JSON "<" occurs in strings only, so an escape can take its place and nothing can end the element.
    content = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    code = "\n".join(_file(f"{name}.js") for name in ("parts/base", *scripts))
    return page(
        title,
        *parts,
        f'<script type="application/json" id="data">{content}</script>',
        style=STYLE + "".join(_file(f"{name}.css") for name in ("parts/interactive", *styles)),
        script=f'"use strict";\n{{\n{code}}}\n',  # in a block, names are the page's own and not the window's
    )


def _file(name: str) -> str:
    return (resources.files("scannable.viewer") / name).read_text(encoding="utf-8")
