"""Records as files, and the page that each kind of them is shown as."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scannable.viewer._json import BYTES, CURE, parsed
from scannable.viewer.inside._file import KIND
from scannable.viewer.inside._page import trace_page
from scannable.viewer.reports._demo import demo_page
from scannable.viewer.reports._language import language_page
from scannable.viewer.reports._language_table import language_table_page
from scannable.viewer.reports._s5 import s5_page

FORMAT = 1
"""Which form of record this is; another number means another form."""

RESULTS = "results.json"
"""What the record in a folder is called."""

SHOWN = f"give {RESULTS} of a demo or a reproduction, or a trace"
"""The cure where there is nothing to show."""

PAGES: dict[str, Callable[[dict[str, Any]], str]] = {
    "demo": demo_page,
    "s5": s5_page,
    "language": language_page,
    "language-table": language_table_page,
    # A trace says what its tokens are, and no record is called so.
    **dict.fromkeys(KIND, trace_page),
}
"""The page of each kind of record."""

_FAULTS = (
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    StopIteration,
    RecursionError,
)


def record_page(record: dict[str, Any]) -> str:
    """Draw a record, or a trace, as the page of its kind.

    Args:
        record: What ``demo``, ``s5``, ``language``, ``collect`` or ``trace`` returned, or what a file of theirs holds;
            its ``kind`` says which, its ``format`` in which form.

    Returns:
        HTML that needs no other file.

    Raises:
        TypeError: If it is no dictionary.
        ValueError: If it is of a kind that has no page, as the measurements of benches are, of another format, or does
            not hold what its kind must.
    """
    if not isinstance(record, dict):
        raise TypeError(f"A record must be a dictionary, got {type(record).__name__}; {CURE}.")
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in PAGES:
        got = "no kind, as in the measurements of a bench" if kind is None else repr(kind)[:40]
        raise ValueError(
            f"A record with a page must be of a kind in {list(PAGES)}, got {got}; {SHOWN}, since other measurements "
            f"have no page."
        )
    if PAGES[kind] is trace_page:
        return trace_page(record)
    if record.get("format") != FORMAT:
        raise ValueError(
            f"A record must have format {FORMAT}, got {repr(record.get('format'))[:40]}; {CURE}."
        )
    try:
        page = PAGES[kind](record)
        page.encode()  # JSON can hold half a character, which no file can
    except _FAULTS as error:
        raise ValueError(
            f"A record of kind {kind!r} must hold what scannable writes, got one that cannot be drawn "
            f"({type(error).__name__}: {str(error)[:80]}); {CURE}."
        ) from error
    return page


def file_page(path: Path | str) -> str:
    """Draw what is in a file, or in a folder, as the page of its kind.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, or no record with a page; the error names the file.
    """
    record = read_record(path)
    try:
        return record_page(record)
    except ValueError as error:
        raise ValueError(f"{_place(path)}: {error}") from error


def read_record(path: Path | str) -> dict[str, Any]:
    """Read a record, or a trace, from a JSON file that anybody may have written, or from the folder that it is in.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is too large, not JSON, or no object; the error names the file.
    """
    path = _place(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a JSON file, got none there; {SHOWN}.")
    with path.open("rb") as file:
        content = file.read(BYTES + 1)
    try:
        found = parsed(content, "record")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: A record must be an object of JSON, got {type(found).__name__}; {CURE}.")
    return found


def _place(path: Path | str) -> Path:
    """Return where the record is: in the file, or in the folder."""
    return Path(path) / RESULTS if Path(path).is_dir() else Path(path)
