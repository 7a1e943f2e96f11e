"""What Python hands out of the viewer: a page to look at in a notebook, to save, or to open."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from torch import Tensor

from scannable.data import Tokenizer
from scannable.tasks import WordProblem
from scannable.viewer._record import file_page, record_page
from scannable.viewer.inside._trace import trace
from scannable.viewer.scan._page import scan_page


@dataclass(frozen=True, kw_only=True, repr=False)
class View:
    """A page that needs nothing else; the last line of a notebook's cell shows it.

    Attributes:
        html: The whole page.
    """

    html: str

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, which opens by a double click, and return the file's path."""
        path = Path(path)
        path.write_text(self.html, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        """Show the page in a notebook, in a frame that can save files and reach neither notebook nor network."""
        return (
            f'<iframe title="scannable" sandbox="allow-scripts allow-downloads" width="100%" height="900" '
            f'frameborder="0" srcdoc="{escape(self.html)}"></iframe>'
        )


def view(
    what: Any = None,
    tokens: Tensor | None = None,
    *,
    reads: WordProblem | Tokenizer | None = None,
    title: str = "",
) -> View:
    """Show a scan, a record, or a run from the inside, as a page: in a notebook, or saved to a file.

    - ``view()``: a scan that one can step through, the tree in parallel beside the binary counter.
    - ``view(record)``: what ``scannable.experiments`` or ``scannable.viewer.trace`` returned.
    - ``view(path)``: the same from a JSON file, or from the folder of a demo or a reproduction. The file may be
      anybody's.
    - ``view(model, tokens)``: the tree that a prefix-scannable model makes of tokens, and what is in each state.

    Args:
        what: Left out, a record as a dictionary, a path, or a model in evaluation mode.
        tokens: For a model: what it reads, 64-bit ids ``(T,)`` on its device.
        reads: For a model: what the ids are, a ``WordProblem`` or a ``Tokenizer``; left out: just ids.
        title: For a model: what the page is called.

    Raises:
        TypeError: If it is none of these.
        FileNotFoundError: If there is no such file.
        ValueError: If the file or the record is not one of ours, or the tokens are none or too many.

    Example:
        >>> import scannable as sc
        >>> sc.view().save("scan.html")
        >>> sc.view("demo").save("demo.html")
        >>> sc.view(model, tokens, reads=task)
    """
    if tokens is not None:
        return View(html=record_page(trace(what, tokens, reads=reads, title=title)))
    if what is None:
        return View(html=scan_page())
    if isinstance(what, dict):
        return View(html=record_page(what))
    if isinstance(what, str | Path):
        return View(html=file_page(what))
    raise TypeError(
        f"view must be given nothing, a record, a path, or a model with tokens, got {type(what).__name__} alone; give "
        f"a model the tokens that it is to read."
    )
