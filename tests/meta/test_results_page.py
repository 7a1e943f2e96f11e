"""docs/results.md lists every record that there is, and the command that makes it."""

import fnmatch
import re
from pathlib import Path

from scannable.cli._commands import COMMANDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| `")]
PATTERNS = [row[0].strip(" `") for row in ROWS]
RECORDS = sorted(path.name for path in (ROOT / "docs" / "results").glob("*.json"))


def test_every_record_is_listed_once_and_every_row_has_a_record():
    for name in RECORDS:
        assert sum(fnmatch.fnmatch(name, pattern) for pattern in PATTERNS) == 1, name
    for pattern in PATTERNS:
        assert fnmatch.filter(RECORDS, pattern), pattern


def test_the_commands_exist():
    for row in ROWS:
        commands = re.findall(r"`([^`]+)`", row[1])
        assert commands
        for command in commands:
            assert command == "make demo" or any(command.startswith(f"scannable {name}") for name in COMMANDS)
