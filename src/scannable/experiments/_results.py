"""What experiments read of their runs, and what they leave in a folder: a record, and the page drawn from it."""

import json
from pathlib import Path
from typing import Any

from scannable.training import write_json
from scannable.training._files import write_text
from scannable.training._folder import METRICS
from scannable.viewer import record_page
from scannable.viewer._record import RESULTS

REPORT = "report.html"


def history(run: Path) -> list[dict[str, Any]]:
    """Return the events of a run from its log, those of interrupted sessions too; ``event`` says of which kind."""
    lines = (run / METRICS).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def write_results(folder: Path, record: dict[str, Any]) -> None:
    """Write ``results.json`` and ``report.html``, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULTS, record)
    write_text(folder / REPORT, record_page(record))
