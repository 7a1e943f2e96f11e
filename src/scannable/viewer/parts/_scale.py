"""The axes of charts: where a value stands between two ends, and which values are written beside it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scannable.viewer.parts._written import Number, Unit, written


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
        title: What it measures.
        log: Whether its scale is logarithmic.
        unit: How its numbers are written.
        ends: Its smallest and largest value; left out, those of the points.
        ticks: Values and their labels; left out, round ones.
    """

    title: str
    log: bool = False
    unit: Unit = "number"
    ends: tuple[Number, Number] | None = None
    ticks: Sequence[tuple[Number, str]] = ()


class Scale:
    """From values to places between two ends of the drawing."""

    def __init__(self, axis: Axis, values: Sequence[Number], start: Number, stop: Number) -> None:
        low, high = axis.ends or (min(values), max(values))
        if axis.ends is None and not axis.log:
            low = min(0.0, low)
        if low == high:
            low, high = (low / 2, high * 2) if axis.log else (low, high + 1)
        self.axis, self.start, self.stop = axis, start, stop
        self._low, self._high = (math.log10(low), math.log10(high)) if axis.log else (low, high)

    def __call__(self, value: Number) -> float:
        place = math.log10(value) if self.axis.log else value
        return self.start + (place - self._low) / (self._high - self._low) * (self.stop - self.start)

    def ticks(self) -> list[tuple[Number, str]]:
        """Return round values inside, with labels."""
        if self.axis.ticks:
            return list(self.axis.ticks)
        low, high = self._low, self._high
        if self.axis.log:
            values = [10.0**power for power in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
        else:
            rough = (high - low) / 5
            base = 10 ** math.floor(math.log10(rough))
            step = next(times * base for times in (1, 2, 2.5, 5, 10) if times * base >= rough)
            values = [
                step * place for place in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)
            ]
        return [(value, written(value, self.axis.unit)) for value in values]


def around(values: Iterable[Number]) -> tuple[float, float]:
    """Return ends for an axis that need not begin at zero: those of the values and a little room."""
    kept = list(values)
    low, high = min(kept), max(kept)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room
