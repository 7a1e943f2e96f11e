"""What Python hands out of the viewer: a page to look at in a notebook, to save, or to open."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

from scannable.viewer._scan_page import scan_page


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
        """Show the page in a notebook, in a frame that can reach neither the notebook nor the network."""
        return (
            f'<iframe title="scannable" sandbox="allow-scripts" width="100%" height="900" style="border:0" '
            f'srcdoc="{escape(self.html)}"></iframe>'
        )


def view() -> View:
    """Show a scan as a page that one can step through: the tree in parallel beside the binary counter.

    Example:
        >>> import scannable as sc
        >>> sc.view().save("scan.html")
    """
    return View(html=scan_page())
