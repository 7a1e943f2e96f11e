"""Self-contained HTML pages and figures, from JSON records, and of the scan itself."""

from scannable.viewer._family import family_figure
from scannable.viewer._figure import Axis, Line, chart, standalone
from scannable.viewer._page import page
from scannable.viewer._report import demo_page
from scannable.viewer._scan_page import scan_page
from scannable.viewer._view import View, view

__all__ = [
    "Axis",
    "Line",
    "View",
    "chart",
    "demo_page",
    "family_figure",
    "page",
    "scan_page",
    "standalone",
    "view",
]
