"""Time and memory of runs that are compared in one process."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.profiler import ProfilerActivity, profile


def check_sample(seconds: float) -> None:
    """Refuse samples of less than no time, or of time without end.

    Raises:
        ValueError: If so.
    """
    if not 0 <= seconds < math.inf:
        raise ValueError(f"sample_seconds must be finite and at least 0, got {seconds}; change it.")


def in_turn(sample_seconds: float, repeats: int, *runs: Callable[[], object]) -> list[list[float]]:
    """Time runs one after another, ``repeats`` times; seconds a call, one list for each run.

    A run is repeated within one sample until that takes about ``sample_seconds``.
    """
    calls = []
    for run in runs:
        run()
        start = time.perf_counter()
        run()
        calls.append(max(1, round(sample_seconds / (time.perf_counter() - start))))
    samples: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, count, seconds in zip(runs, calls, samples, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                run()
            seconds.append((time.perf_counter() - start) / count)
    return samples


def speedup(theirs: list[float], ours: list[float]) -> float:
    """Return how many times as long theirs took: the median over runs taken in turn."""
    return statistics.median(b / a for a, b in zip(ours, theirs, strict=True))


def peak_bytes(run: Callable[[], object]) -> int:
    """Return the most bytes that tensors held at once during a run, above what was held before.

    Torch's CPU allocator reports every allocation and release to the profiler, those inside kernels and
    inside the backward pass too; their running sum is exact, where resident memory depends on the
    process's history. Leaves and cotangents are there before and do not count; outputs and gradients do.
    """
    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        run()
    assert record.profiler is not None
    trace = record.profiler.kineto_results
    assert trace is not None
    events = [event for event in trace.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()  # pyrefly: ignore[missing-attribute]  (left out of the stubs)
        peak = max(peak, held)
    return peak


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
