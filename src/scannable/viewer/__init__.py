"""Self-contained HTML pages and figures, from JSON records, and of the scan itself."""

from scannable.viewer._family import family_figure
from scannable.viewer._figure import Line, chart, standalone
from scannable.viewer._page import page
from scannable.viewer._record import read_record, record_page
from scannable.viewer._scale import Axis
from scannable.viewer._scan_page import scan_page
from scannable.viewer._trace import trace
from scannable.viewer._trace_file import read_trace
from scannable.viewer._trace_page import trace_page
from scannable.viewer._view import View, view

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
