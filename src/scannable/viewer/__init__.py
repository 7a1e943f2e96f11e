"""Self-contained HTML pages and figures, from JSON records only."""

from scannable.viewer._family import family_figure
from scannable.viewer._figure import Axis, Line, chart, standalone
from scannable.viewer._page import page
from scannable.viewer._report import demo_page

__all__ = ["Axis", "Line", "chart", "demo_page", "family_figure", "page", "standalone"]
