"""Self-contained HTML pages and figures, from JSON records, and of the scan itself."""

from scannable.viewer._record import read_record, record_page
from scannable.viewer._view import View, view
from scannable.viewer.inside._file import read_trace
from scannable.viewer.inside._page import trace_page
from scannable.viewer.inside._trace import trace
from scannable.viewer.parts._figure import Line, chart, standalone
from scannable.viewer.parts._page import page
from scannable.viewer.parts._scale import Axis
from scannable.viewer.reports._family_figure import family_figure
from scannable.viewer.scan._page import scan_page

__all__ = [
    "Axis",
    "Line",
    "View",
    "chart",
    "family_figure",
    "page",
    "read_record",
    "read_trace",
    "record_page",
    "scan_page",
    "standalone",
    "trace",
    "trace_page",
    "view",
]
