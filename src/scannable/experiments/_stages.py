"""Stages of a long measurement: what is finished is kept in files, so that a second run does not repeat it."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scannable.training import write_json


@dataclass(frozen=True, kw_only=True)
class Step:
    """How far the work is.

    Attributes:
        what: What is going on now.
        done: Which part of the whole work is done, by its expected time.
        left: The expected seconds left on two cores.
    """

    what: str
    done: float
    left: float


class Stages:
    """The stages of one piece of work, with the seconds that each is expected to take.

    Args:
        folder: Where results are kept, one file a stage.
        key: What results depend on; those of another key are measured again.
        expected: The stages, in any order.
        report: Called now and then.
    """

    def __init__(
        self, folder: Path, key: str, expected: dict[str, float], report: Callable[[Step], None]
    ) -> None:
        self.folder, self.report = folder, report
        self._key, self._expected = key, expected
        self._done: set[str] = set()

    @property
    def seconds(self) -> float:
        """How long all measurements took that are kept."""
        return sum(_read(path).get("seconds", 0.0) for path in self.folder.glob("*.json"))

    def stamp(self, key: str) -> None:
        """Let what follows depend on something more."""
        self._key += key

    def stage(self, name: str, measure: Callable[[], Any]) -> Any:
        """Do a stage, or read what it gave before."""
        path = self.folder / f"{name.replace(' ', '-')}.json"
        self.at(name)
        kept = _read(path)
        if kept.get("key") != self._key:
            start = time.monotonic()
            kept = {"key": self._key, "result": measure(), "seconds": time.monotonic() - start}
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, kept)
        self.close(name)
        return kept["result"]

    def at(self, name: str, fraction: float = 0.0, seconds: float = 0.0) -> None:
        """Say how far a stage is, and learn how long it takes from how long it took so far."""
        if fraction > 0.05:
            self._expected[name] = seconds / fraction
        total = sum(self._expected.values())
        done = sum(self._expected[name] for name in self._done) + fraction * self._expected[name]
        self.report(Step(what=name, done=done / total, left=total - done))

    def close(self, name: str) -> None:
        """Count a stage as done."""
        self._done.add(name)

    def finish(self) -> None:
        """Say that nothing is left."""
        self.report(Step(what="done", done=1.0, left=0.0))


def _read(path: Path) -> dict[str, Any]:
    """Read what a stage kept; what cannot be read is measured again."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
