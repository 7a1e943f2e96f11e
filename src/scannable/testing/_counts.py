"""What the two forms cost, counted: merges, batched calls, floating point operations, stored states."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scannable.scans import Aggregator, Counter, State, extend_calls, merges, scan, scan_calls
from scannable.scans._tree import along, flatten
from scannable.testing._report import Finding, Report, asserting
from scannable.testing._subject import (
    Subject,
    check_states,
    check_tokens,
    describe,
    is_aggregator,
    loose,
    own,
    replica,
)


class CountingAggregator(nn.Module):
    """Pass calls on to another operator, and count merges (rows) and batched calls.

    Args:
        aggregator: The operator.
    """

    def __init__(self, aggregator: Aggregator) -> None:
        super().__init__()
        self.aggregator = aggregator
        self.rows = self.calls = 0

    def combine(self, left: State, right: State) -> State:
        self.calls += 1
        self.rows += len(flatten(left)[0][0])
        return self.aggregator.combine(left, right)

    def identity(self, like: State) -> State:
        return self.aggregator.identity(like)

    def take(self) -> tuple[int, int]:
        """Return the rows merged and the batched calls since the last time."""
        taken = self.rows, self.calls
        self.rows = self.calls = 0
        return taken


class _Marking(nn.Module):
    """Carry beside every state whether it is an identity, and count those that ``combine`` receives.

    States are pairs of a state of the operator and a mark for each row, so that identities are known
    whatever the values of the states are.
    """

    def __init__(self, aggregator: Aggregator) -> None:
        super().__init__()
        self.aggregator = aggregator
        self.identities = 0

    def combine(self, left: State, right: State) -> State:
        (left, marked), (right, also) = left, right
        self.identities += int(marked.sum() + also.sum())
        return self.aggregator.combine(left, right), torch.zeros_like(marked)

    def identity(self, like: State) -> State:
        state, mark = like
        return self.aggregator.identity(state), torch.ones_like(mark)

    @staticmethod
    def leaves(leaves: State) -> State:
        """Mark leaves ``(B, N, ...)`` as no identities."""
        x = flatten(leaves)[0][0]
        return leaves, torch.zeros(x.shape[:2], dtype=torch.int64, device=x.device)


Measured = tuple[list[dict[str, Any]], list[Finding]]


def check_counts(
    subject: Subject,
    inputs: State,
    *,
    lengths: Sequence[int] | None = None,
    work: float | None = None,
    memory: float | None = None,
    streamed: bool = True,
) -> Report:
    """Count what both forms cost against length, and compare with the formulas of ``scans``.

    For an aggregator: merges of ``scan``, ``push`` and ``extend`` (``scans.merges``, exactly), batched calls
    (``scan_calls`` and ``extend_calls``, at most), roots (one for each set bit), and that ``combine`` never
    sees an identity. For a model that has an ``aggregator`` and a ``chunk``: its merges in both
    forms, at most ``merges(T // chunk)``. For any model: floating point operations, and bytes of the stream.

    Exponents are fitted to the longer half of the lengths, on logarithmic scales: the work of the
    parallel form grows as ``T**work exponent`` and the peak of what is stored as ``T**memory exponent``.
    Operations are counted by torch's ``FlopCounterMode``, which knows products and convolutions, and attention
    as if it were not masked. Where an operator has none of these, the work is its merges.

    Args:
        subject: An aggregator or a model; a copy of it is used.
        inputs: Its leaves, ``(B, N, ...)``, or its tokens, ``(B, T, *token)``.
        lengths: Where to count, each at most ``N`` or ``T``; left out, ``N``, ``N // 2``, ``N // 4``, ...
        work: The largest exponent of work that passes; left out, it is told for information.
        memory: The same for what is stored.
        streamed: Whether to count the operations of a model's streaming form too, which takes longer than all else.
    """
    of_aggregator = is_aggregator(subject)
    longest = (check_states(inputs)[0] if of_aggregator else check_tokens(inputs)).shape[1]
    lengths = _check_lengths(lengths, longest)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        measure: Callable[[Any, Any, list[int]], Measured]
        measure = _count_aggregator if of_aggregator else partial(_count_model, streamed=streamed)
        table, findings = measure(_frozen(replica(subject)), own(inputs), lengths)
    costs = {
        "work": (work, [row["flops"] or row.get("merges") for row in table]),
        "memory": (memory, [row["stored"] for row in table]),
    }
    for name, (bound, column) in costs.items():
        what, exponent = f"{name} exponent", fitted_exponent(lengths, column)
        finding = Finding(what=what, measured=exponent)
        findings.append(finding if bound is None else Finding.at_most(what, exponent, bound))
    return Report(
        law="counts", subject=describe(subject, inputs), findings=tuple(findings), table=tuple(table)
    )


assert_counts = asserting(check_counts)


def _frozen(twin: Any) -> Any:
    """Let no tensor of a copy require gradients: torch's counter cannot hook views of one made without."""
    parameters = twin.parameters() if isinstance(twin, nn.Module) else ()
    for x in (*parameters, *loose(twin)):
        if x.is_leaf:
            x.requires_grad = False
    return twin


def _check_lengths(lengths: Sequence[int] | None, longest: int) -> list[int]:
    chosen = sorted({longest >> k for k in range(longest.bit_length())} if lengths is None else set(lengths))
    if not chosen or chosen[0] < 1 or chosen[-1] > longest:
        raise ValueError(f"lengths must be between 1 and {longest}, the length of the inputs, got {lengths}.")
    return chosen


def _count_aggregator(aggregator: Aggregator, leaves: State, lengths: list[int]) -> Measured:
    marking = _Marking(aggregator)
    counting, leaves = CountingAggregator(marking), marking.leaves(leaves)
    batch = flatten(leaves)[0][0].shape[0]
    counters, stored, pushed, odd = [Counter.empty(counting, along(leaves, 0))], [0], [0], 0
    for t in range(lengths[-1]):
        counters.append(counters[-1].push(along(leaves, t)))
        kept = sum(state is not None for state in (*counters[-1].roots, *counters[-1].folds))
        odd += kept != 2 * (t + 1).bit_count()
        stored.append(max(stored[-1], kept))
        pushed.append(pushed[-1] + counting.take()[0] // batch)
    table: list[dict[str, Any]] = []
    more, deeper = 0, 0
    for n in lengths:
        t = n // 3
        with FlopCounterMode(display=False) as flops:
            scan(counting, along(leaves, slice(n)))
        merged, calls = counting.take()
        counters[t].extend(along(leaves, slice(t, n)))
        extended, extend_depth = counting.take()
        row = {"length": n, "merges": merged // batch, "calls": calls, "flops": flops.get_total_flops()}
        row |= {"push": pushed[n], "extend": extended // batch, "extend calls": extend_depth}
        table.append(row | {"stored": stored[n]})
        more += abs(row["merges"] - merges(n - 1)) + abs(row["push"] - merges(n))
        more += abs(row["extend"] - merges(n) + merges(t))
        deeper += max(0, calls - scan_calls(n)) + max(0, extend_depth - extend_calls(t, n - t))
    return table, [
        Finding.equals("merges besides the formula", more, 0),
        Finding.equals("batched calls beyond the formula", deeper, 0),
        Finding.equals("counts whose roots are not their bits", odd, 0),
        Finding.equals("merges with an identity", marking.identities, 0),
    ]


def _count_model(model: Any, tokens: Tensor, lengths: list[int], *, streamed: bool) -> Measured:
    batch, chunk, counting = tokens.shape[0], getattr(model, "chunk", None), None
    if chunk and isinstance(getattr(model, "aggregator", None), Aggregator):
        counting = model.aggregator = CountingAggregator(model.aggregator)
    table: list[dict[str, Any]] = []
    for n in lengths:
        with FlopCounterMode(display=False) as flops:
            model(tokens[:, :n])
        table.append({"length": n, "flops": flops.get_total_flops()})
        if counting:
            merged, calls = counting.take()
            table[-1] |= {"merges": merged // batch, "calls": calls}
    stream, stored = model.start(batch=batch), 0
    with FlopCounterMode(display=False) if streamed else nullcontext() as flops:
        for start, row in zip([0, *lengths], table, strict=False):
            for t in range(start, row["length"]):
                _, stream = model.step(stream, tokens[:, t])
                stored = max(stored, stream.nbytes)
            row |= {"streamed flops": flops.get_total_flops()} if flops else {}
            row["stored"] = stored
            if counting:
                row["streamed merges"] = counting.rows // batch
    findings = []
    if counting and chunk:
        bounds = [merges(n // chunk) for n in lengths]
        for what, column in (("parallel", "merges"), ("streaming", "streamed merges")):
            more = sum(max(0, row[column] - bound) for row, bound in zip(table, bounds, strict=True))
            findings.append(Finding.equals(f"merges beyond the formula, {what}", more, 0))
    return table, findings


def fitted_exponent(lengths: list[int], costs: list[Any]) -> float:
    """Fit the slope of log(cost) against log(length) over the longer half; NaN if there is no such line."""
    half = min(len(lengths) // 2, max(0, len(lengths) - 2))
    points = [
        (math.log(n), math.log(cost)) for n, cost in list(zip(lengths, costs, strict=True))[half:] if cost
    ]
    if len(points) < 2:
        return math.nan
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
