"""What a checker hands back: findings beside their bounds, printed as a table or written as JSON."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

Value = bool | int | float | str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One measurement; ``passed`` is None where it is given for information only."""

    what: str
    measured: Value
    bound: str = ""
    passed: bool | None = None

    @classmethod
    def at_most(cls, what: str, measured: float | int, bound: float | int) -> "Finding":
        """Judge by an upper bound; a NaN does not pass."""
        return cls(what=what, measured=measured, bound=f"<= {_text(bound)}", passed=measured <= bound)

    @classmethod
    def equals(cls, what: str, measured: Value, expected: Value) -> "Finding":
        """Judge by equality."""
        return cls(what=what, measured=measured, bound=f"= {_text(expected)}", passed=measured == expected)

    @classmethod
    def holds(cls, what: str, fact: bool) -> "Finding":
        """Judge a fact that must be true."""
        return cls(what=what, measured=fact, bound="= yes", passed=fact)


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of one law for one subject.

    Attributes:
        law: The law's name.
        subject: What was checked, and on what input.
        findings: What the verdict rests on, and what is told for information.
        table: Measurements row by row, behind the findings.
    """

    law: str
    subject: str
    findings: tuple[Finding, ...]
    table: tuple[dict[str, Value], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every finding that is judged is within its bound."""
        return all(finding.passed is not False for finding in self.findings)

    def __getitem__(self, what: str) -> Value:
        """Return what was measured under the name ``what``."""
        found = {finding.what: finding.measured for finding in self.findings}
        if what not in found:
            raise ValueError(f"The {self.law} report has no finding {what!r}, choose from {list(found)}.")
        return found[what]

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        lines = [f"{self.law} of {self.subject}: {verdict}"]
        if self.table:
            keys: list[Value] = list(dict.fromkeys(key for row in self.table for key in row))
            rows: list[list[Value]] = [[row.get(str(key)) for key in keys] for row in self.table]
            lines += [*_aligned([keys, *rows]), ""]
        mark = {True: "ok", False: "FAILED", None: ""}
        findings: list[list[Value]] = [[f.what, f.measured, f.bound, mark[f.passed]] for f in self.findings]
        return "\n".join(lines + _aligned([["finding", "measured", "bound", ""], *findings]))

    def to_dict(self) -> dict[str, Any]:
        """Return values that ``json`` can write; what is not finite becomes a string."""
        return {
            "law": self.law,
            "subject": self.subject,
            "passed": self.passed,
            "findings": [_plain(asdict(finding)) for finding in self.findings],
            "table": [_plain(row) for row in self.table],
        }


P = ParamSpec("P")
R = TypeVar("R", bound=Report)


def asserting(check: Callable[P, R]) -> Callable[P, R]:
    """Make the twin of a checker that raises AssertionError with the printed report."""

    @wraps(check)
    def assert_law(*args: P.args, **kwargs: P.kwargs) -> R:
        report = check(*args, **kwargs)
        if not report.passed:
            raise AssertionError(f"\n{report}")
        return report

    assert_law.__name__ = assert_law.__qualname__ = check.__name__.replace("check_", "assert_")
    assert_law.__doc__ = f"Raise AssertionError with the report of ``{check.__name__}`` unless it passed."
    return assert_law


def worst(values: Iterable[Any]) -> float:
    """Return the largest value, 0 if there is none; a NaN is worse than all."""
    return max(values, key=lambda value: (value != value, value), default=0.0)


def _aligned(rows: list[list[Value]]) -> list[str]:
    """Lay a table out: the first column to the left, the others to the right."""
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *others in cells:
        padded = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(["", first.ljust(widths[0]), *padded]).rstrip())
    return lines


def _text(value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else value


def _plain(row: dict[str, Value]) -> dict[str, Value]:
    return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
