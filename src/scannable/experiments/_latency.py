"""How long consecutive steps take, and the figures that are made of it."""

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

ENDS = 1000
"""How many steps at either end are compared."""


def latencies(step: Callable[[Tensor], Any], tokens: Tensor) -> list[float]:
    """Return the seconds of steps over tokens ``(T, B)``: on a GPU from the end of one to the end of the next."""
    each = tokens.unbind()  # of many tokens that takes a while, which is no step's
    if tokens.device.type != "cuda":
        marks = [time.perf_counter()]
        for token in each:
            step(token)
            marks.append(time.perf_counter())
        return [after - before for before, after in itertools.pairwise(marks)]
    events = [torch.cuda.Event(enable_timing=True) for _ in range(len(tokens) + 1)]
    torch.cuda.synchronize(tokens.device)
    events[0].record()
    for token, event in zip(each, events[1:], strict=True):
        step(token)
        event.record()
    torch.cuda.synchronize(tokens.device)
    return [before.elapsed_time(after) / 1e3 for before, after in itertools.pairwise(events)]


def summary(seconds: list[float]) -> dict[str, float]:
    """Return median, 99th and 99.9th percentile and mean, the means of the first and last thousand, and their ratio.

    A percentile is the least of the steps that so many of all do not exceed. Of fewer than two thousand steps the two
    halves are compared.
    """
    ordered, count = sorted(seconds), len(seconds)
    ends = max(1, min(ENDS, count // 2))
    first, last = (statistics.fmean(some) for some in (seconds[:ends], seconds[-ends:]))
    return {
        "median": statistics.median(seconds),
        "p99": ordered[-(-count * 990 // 1000) - 1],
        "p999": ordered[-(-count * 999 // 1000) - 1],
        "mean": statistics.fmean(seconds),
        "first": first,
        "last": last,
        "ratio": last / first,
    }
