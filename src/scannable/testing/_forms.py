"""Every way of computing what an aggregator or a model computes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from scannable.scans import Counter, State, reference, scan
from scannable.scans._tree import along, arranged, flatten, unflatten
from scannable.testing._subject import Piece, read, spread

Form = tuple[list[int], list[Tensor]]
"""The places that one way of computing gives, and its tensors ``(B, places, ...)``."""

Forms = Callable[[Any, Any, int], Iterator[tuple[str, Form]]]
"""What yields every form of a subject by name."""


def reading_plans(length: int, period: int, seed: int) -> dict[str, list[Piece]]:
    """Name ways to stream ``length`` tokens, with cuts around multiples of ``period`` and away from them."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 2 * period + 2, (length,), generator=generator).tolist()
    around = [period - 1, 0, period, 0, 0, period + 1, 1, 2 * period + 1]
    half = (length + 1) // 2
    return {
        "step": [("step", 1)] * length,
        "prefill": [("all", length)],
        "prefill, then step": [("all", half), *[("step", 1)] * (length - half)],
        "step, then prefill": _cut([*[("step", 1)] * min(3, length), ("all", length)], length),
        "pieces around a chunk": _cut([("all", n) if n else ("step", 1) for n in around] * length, length),
        "pieces of random sizes": _cut([("all", n) if n > 1 else ("step", 1) for n in sizes], length),
        "last of random pieces": _cut([("last", n) for n in sizes], length),
    }


def _cut(pieces: list[Piece], length: int) -> list[Piece]:
    """Stop after ``length`` tokens."""
    kept: list[Piece] = []
    for how, size in pieces:
        size = min(size, length)
        kept += [(how, size)] if size else []
        length -= size
    return kept


def model_forms(model: Any, tokens: Shaped[Tensor, "B T *token"], seed: int) -> Iterator[tuple[str, Form]]:
    """Yield the logits by each way of reading, the parallel form first."""
    length = tokens.shape[1]
    yield "parallel", (list(range(length)), [model(tokens)])
    for name, pieces in reading_plans(length, getattr(model, "chunk", None) or 4, seed).items():
        places, logits, _ = read(model, tokens, pieces)
        yield name, (places, [logits])


def aggregator_forms(aggregator: Any, leaves: State, seed: int) -> Iterator[tuple[str, Form]]:
    """Yield the prefixes of 0, 1, ..., N leaves by each form, the definition first."""
    tensors, structure = flatten(leaves)
    length, like = tensors[0].shape[1], along(leaves, 0)
    counts = spread(length + 1, 65)
    defined = (arranged(reference.prefix_state(aggregator, leaves, count), like) for count in counts)
    yield "definition", _states(counts, defined)
    every = list(range(length + 1))
    yield "parallel", (every[1:], flatten(scan(aggregator, leaves, inclusive=True))[0])
    yield "parallel, exclusive", (every[:-1], flatten(scan(aggregator, leaves))[0])
    counter = Counter.empty(aggregator, like)
    counters = [counter]
    for t in range(length):
        counters.append(counters[-1].push(along(leaves, t)))
    yield "push", _states(every, (c.prefix for c in counters))
    random = int(torch.randint(0, length + 1, (), generator=torch.Generator().manual_seed(seed)))
    for split in sorted({0, 1, length // 3, length // 2, random}):
        new = unflatten([x[:, split:] for x in tensors], structure)
        prefixes, after = counters[split].extend(new)
        pairs = zip(flatten(prefixes)[0], flatten(after.prefix)[0], strict=True)
        yield f"extend from {split}", (every[split:], [torch.cat([x, y[:, None]], 1) for x, y in pairs])


def _states(places: list[int], states: Iterable[State]) -> Form:
    columns = zip(*(flatten(state)[0] for state in states), strict=True)
    return places, [torch.stack(column, 1) for column in columns]


def at(form: Form, places: list[int]) -> list[Tensor]:
    """Read the tensors of a form at some of its places."""
    rows = [form[0].index(place) for place in places]
    return [x[:, rows] for x in form[1]]


def shared(form: Form, other: Form) -> list[int]:
    """List the places that two forms have in common."""
    return sorted(set(form[0]) & set(other[0]))
