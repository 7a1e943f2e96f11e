"""The records of the rows of the table of language models, put together."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scannable.experiments._language_rows import LANGUAGE_ROWS
from scannable.viewer import read_record, record_page

_PARTS = ("rows", "trials", "streams", "speeds")


def collect(paths: Iterable[Path]) -> dict[str, Any]:
    """Put the records of single calls, and of tables that this has made, together, in the order of the table.

    Returns:
        ``rows``: the records of runs. ``trials``: those of calls that only tried learning rates. ``streams``: those of
        calls that only timed a stream: the table shows the first seed's in place of what runs of that row timed
        themselves; one that read fewer tokens than theirs is left out. ``speeds``: those of ``scannable bench
        language``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is no such record, or two are of one row and seed.
    """
    found = _table({})
    for path in paths:
        for record in _records(read_record(path)):
            if fault := _fault(record):
                raise ValueError(
                    f"{path} must be what scannable reproduce language --json or scannable bench language --json "
                    f"printed, got {fault}; leave it out."
                )
            found[_part(record)].append(record)
    speeds = found["speeds"]
    if any(record in speeds[:place] for place, record in enumerate(speeds)):
        raise ValueError("Records of speed must differ, got one twice; leave it out.")
    for part in ("rows", "trials", "streams"):
        records = found[part]
        records.sort(key=lambda record: (list(LANGUAGE_ROWS).index(record["row"]), record["seed"]))
        names = [(record["row"], record["seed"]) for record in records]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"Records must be of one row and seed each, got two of {twice}; leave one out.")
    own = [(record["row"], _read(record)) for record in found["rows"]]
    found["streams"] = [
        record
        for record in found["streams"]
        if all(_read(record) >= read for row, read in own if row == record["row"])
    ]
    return found


def _records(found: dict[str, Any]) -> list[Any]:
    """Return what a file holds: the records of a table, or its own."""
    if found.get("kind") != "language-table":
        return [found]
    parts = [found.get(part, []) for part in _PARTS]
    return [record for part in parts for record in (part if isinstance(part, list) else [part])]


def _table(parts: dict[str, list[Any]]) -> dict[str, Any]:
    return {"format": 1, "kind": "language-table", **{part: [] for part in _PARTS}, **parts}


def _fault(record: Any) -> str | None:
    """Say what a record is, if the table cannot hold it."""
    if not isinstance(record, dict):
        return f"a table with {str(record)[:40]!r} for a record"
    part = _part(record)
    if part != "speeds":
        for key, ours in (("bench", None), ("kind", "language")):
            # Early records had no kind.
            if (value := record.get(key, ours)) != ours:
                return f"a record of {key} {str(value)[:40]!r}"
        if record.get("row") not in list(LANGUAGE_ROWS):
            return f"a record of row {str(record.get('row'))[:40]!r}, which is not in the table"
        if not isinstance(record.get("seed"), int):
            return f"a record of seed {str(record.get('seed'))[:40]!r}"
        if part == "streams" and not record.get("stream"):
            return "a record of a call that measured nothing"
    try:
        record_page(_table({part: [record]}))
    except ValueError:
        return "a record with something missing or of another form"
    return None


def _part(record: dict[str, Any]) -> str:
    """Say which part of the table a record belongs to."""
    if record.get("bench") == "language":
        return "speeds"
    return "rows" if record.get("scores") else "trials" if record.get("trials") else "streams"


def _read(record: dict[str, Any]) -> int:
    """Return how many tokens a record's stream read, those before it was timed counted in."""
    stream = record["stream"]
    return stream["after"] + stream["tokens"] if stream else 0
