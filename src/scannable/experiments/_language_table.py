"""The records of the rows of the table of language models, put together."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scannable.experiments._language_rows import LANGUAGE_ROWS
from scannable.viewer import read_record


def collect(paths: Iterable[Path]) -> dict[str, Any]:
    """Put the records of single calls together, in the order of the table.

    Returns:
        ``rows``: the records of runs. ``trials``: those of calls that only tried learning rates. ``streams``: those of
        calls that only timed a stream, which count for their rows. ``speeds``: those of ``scannable bench language``.

    Raises:
        ValueError: If a file is no such record, or two are of one row and seed.
    """
    found: dict[str, list[Any]] = {"rows": [], "trials": [], "streams": [], "speeds": []}
    for path in paths:
        try:
            record = read_record(path)
            found[_part(record)].append(record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} must be what scannable reproduce language --json or scannable bench language --json printed, "
                f"got something else ({error!r}); leave it out."
            ) from error
    for part in ("rows", "trials", "streams"):
        records = found[part]
        records.sort(key=lambda record: (list(LANGUAGE_ROWS).index(record["row"]), record["seed"]))
        names = [(record["row"], record["seed"]) for record in records]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"Records must be of one row and seed each, got two of {twice}; leave one out.")
    return {"format": 1, "kind": "language-table", **found}


def _part(record: dict[str, Any]) -> str:
    """Say which part of the table a record belongs to."""
    if record.get("bench") == "language":
        return "speeds"
    if record["row"] not in LANGUAGE_ROWS:
        raise ValueError(f"there is no row {record['row']!r}")
    return "rows" if record["scores"] else "trials" if record["trials"] else "streams"
