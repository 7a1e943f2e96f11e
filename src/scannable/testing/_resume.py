"""A stream is a value: saved and loaded, or forked, it goes on as if nothing had happened, bit by bit."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from scannable.scans import Aggregator, Counter, State
from scannable.scans._tree import along, flatten, tree_map, unflatten
from scannable.testing._report import Finding, Report, Value, asserting
from scannable.testing._subject import (
    Piece,
    Subject,
    check_states,
    check_tokens,
    describe,
    is_aggregator,
    own,
    read,
    replica,
    same,
    spread,
)


def check_resume(subject: Subject, inputs: State, *, places: int = 16) -> Report:
    """Check that an interrupted stream continues exactly as the uninterrupted one.

    At each place the stream is written to the bytes of a safetensors file, loaded and continued; and it is
    forked: another future is read from it first, then the true one. The stream of an aggregator
    is its ``Counter``, continued by ``push`` and ``extend``; that of a model is what ``start`` returns, with
    ``stream.tensors()`` and ``model.restore(tensors)``, continued by ``step`` and ``prefill``.

    Args:
        subject: An aggregator or a model; a copy of it is used, in its own dtype.
        inputs: Its leaves, ``(B, N, ...)``, or its tokens, ``(B, T, *token)``.
        places: How many places to interrupt at; all if there are not more.
    """
    resume: Callable[[Any, Any, int], dict[str, Value]]
    if is_aggregator(subject):
        length, resume = check_states(inputs)[0].shape[1], _resume_counter
    else:
        length, resume = check_tokens(inputs).shape[1], _resume_stream
    subject, inputs = replica(subject), own(inputs)
    with torch.no_grad():
        table = tuple(
            {"place": t} | resume(subject, inputs, t)
            for t in spread(length, places, getattr(subject, "chunk", None))
        )
    findings = tuple(
        Finding.equals(f"places where {what} differ", sum(not row[column] for row in table), 0)
        for what, column in (
            ("a saved stream's results", "saved: results"),
            ("a saved stream's states", "saved: state"),
            ("a forked stream's results", "forked: results"),
            ("a forked stream's states", "forked: state"),
        )
    )
    return Report(law="resumption", subject=describe(subject, inputs), findings=findings, table=table)


assert_resume = asserting(check_resume)


def through_bytes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Write tensors as a safetensors file would hold them, and load them again."""
    from safetensors.torch import load, save

    return load(save({name: x.clone(memory_format=torch.contiguous_format) for name, x in tensors.items()}))


def counter_tensors(counter: Counter) -> dict[str, Tensor]:
    """Name the tensors of a counter: ``count``, ``empty_prefix.0``, ``roots.3.0``, ..."""
    tensors = {"count": torch.tensor(counter.count)}
    states = {"empty_prefix": counter.empty_prefix}
    for field in ("roots", "folds"):
        kept = enumerate(getattr(counter, field))
        states |= {f"{field}.{level}": state for level, state in kept if state is not None}
    for name, state in states.items():
        tensors |= {f"{name}.{i}": x for i, x in enumerate(flatten(state)[0])}
    return tensors


def restore_counter(aggregator: Aggregator, like: State, tensors: dict[str, Tensor]) -> Counter:
    """Build the counter that ``counter_tensors`` took apart, for states like ``like``."""
    parts, structure = flatten(like)

    def state(name: str) -> State | None:
        names = [f"{name}.{i}" for i in range(len(parts))]
        return unflatten([tensors[n] for n in names], structure) if names[0] in tensors else None

    count = int(tensors["count"])
    fields = {
        field: tuple(state(f"{field}.{level}") for level in range(count.bit_length()))
        for field in ("roots", "folds")
    }
    return Counter(aggregator=aggregator, count=count, empty_prefix=state("empty_prefix"), **fields)


def _resume_counter(aggregator: Any, leaves: State, place: int) -> dict[str, Value]:
    past, future = along(leaves, slice(place)), along(leaves, slice(place, None))
    other = tree_map(lambda x: x.flip(1), leaves)
    like = along(leaves, 0)

    def begin() -> Counter:
        return Counter.empty(aggregator, like).extend(past)[1]

    expected = _continue(begin(), future)
    counter = begin()
    saved = _continue(restore_counter(aggregator, like, through_bytes(counter_tensors(counter))), future)
    _continue(counter, other)
    forked = _continue(counter, future)
    return _compare(expected, saved, forked)


def _continue(counter: Counter, leaves: State) -> tuple[State, dict[str, Tensor]]:
    """Push one leaf, extend by the others; return all prefixes, and the tensors at the end."""
    before = counter.prefix
    counter = counter.push(along(leaves, 0))
    prefixes, counter = counter.extend(along(leaves, slice(1, None)))
    return [before, prefixes, counter.prefix], counter_tensors(counter)


def _resume_stream(model: Any, tokens: Shaped[Tensor, "B T *token"], place: int) -> dict[str, Value]:
    past, future = tokens[:, :place], tokens[:, place:]
    rest = future.shape[1]
    head = min(2, rest)
    pieces: list[Piece] = [("step", 1)] * head
    if rest > head:
        pieces.append(("all", rest - head))

    def begin() -> Any:
        stream = model.start(batch=tokens.shape[0])
        return read(model, past, [("all", place)], stream)[2] if place else stream

    def go_on(stream: Any, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        _, logits, stream = read(model, tokens, pieces, stream)
        return logits, stream.tensors()

    expected = go_on(begin(), future)
    stream = begin()
    saved = go_on(model.restore(through_bytes(stream.tensors())), future)
    go_on(stream, tokens.flip(1)[:, :rest])
    forked = go_on(stream, future)
    return _compare(expected, saved, forked)


Outcome = tuple[State, dict[str, Tensor]]


def _compare(expected: Outcome, saved: Outcome, forked: Outcome) -> dict[str, Value]:
    row: dict[str, Value] = {}
    for name, (results, tensors) in (("saved", saved), ("forked", forked)):
        row[f"{name}: results"] = same(results, expected[0])
        row[f"{name}: state"] = tensors.keys() == expected[1].keys() and same(tensors, expected[1])
    return row
