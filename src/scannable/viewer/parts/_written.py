"""How pages write numbers: few digits, units that fit, and a dash where there is no number."""

from collections.abc import Sequence
from typing import Any, Literal

Number = int | float
Unit = Literal["number", "percent", "bytes", "seconds"]


def written(value: Number | None, unit: Unit) -> str:
    """Write a number as an axis or a table shows it."""
    if value is None:
        return "-"
    match unit:
        case "percent":
            return f"{100 * value:.3g} %"
        case "bytes":
            for name in ("B", "KB", "MB", "GB"):
                if value < 999.5:  # what is more would be written as 1e+03
                    return f"{value:.3g} {name}"
                value /= 1000
            return f"{value:.3g} TB"
        case "seconds":
            return f"{1e3 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
        case _:
            return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"


def fixed(value: Number | None, digits: int) -> str:
    """Write a number with so many decimals."""
    return "-" if value is None else f"{value:,.{digits}f}"


def between(ends: Sequence[Number | None] | None, digits: int) -> str:
    """Write an interval."""
    return "-" if ends is None else f"{fixed(ends[0], digits)} to {fixed(ends[1], digits)}"


def short(value: Any) -> str:
    """Write a measurement in a few characters."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def minutes(seconds: Number) -> str:
    """Write a span of time."""
    return f"{seconds:.0f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
