"""What can be checked, an aggregator or a model, and copies of it that leave the original alone."""

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from scannable.scans import Aggregator, State
from scannable.scans._tree import check_leaves, flatten, tree_map
from scannable.testing._report import worst


@runtime_checkable
class SequenceModel(Protocol):
    """A model with a parallel form, ``model(tokens)``, and a streaming form; streams are values.

    Tokens are ids, ``(B, T)``, or for a model that mixes vectors, ``(B, T, *token)``.

    ``check_resume`` also needs ``stream.tensors() -> dict[str, Tensor]`` and ``model.restore(tensors)``,
    and ``check_counts`` needs ``stream.nbytes``.
    """

    def __call__(self, tokens: Tensor) -> Tensor:
        """Map ``(B, T)`` tokens to logits ``(B, T, vocabulary)``."""
        ...

    def start(self, batch: int) -> Any:
        """Return a stream that has read nothing."""
        ...

    def prefill(self, stream: Any, tokens: Tensor, logits: Literal["last", "all"]) -> tuple[Tensor, Any]:
        """Read ``(B, n)`` tokens; return the last logits, ``(B, V)``, or all, ``(B, n, V)``, and the stream."""
        ...

    def step(self, stream: Any, token: Tensor) -> tuple[Tensor, Any]:
        """Read one token, ``(B,)``; return its logits, ``(B, V)``, and the stream."""
        ...


Subject = Aggregator | SequenceModel

Piece = tuple[Literal["step", "all", "last"], int]
"""How a stream reads its next tokens: one ``step``, or a ``prefill`` of so many tokens with such logits."""


def is_aggregator(subject: object) -> bool:
    """Tell an aggregator from a model.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(subject, type):
        raise TypeError(f"A checker needs an object, got the class {subject.__name__}; call it first.")
    if isinstance(subject, Aggregator):
        return True
    if isinstance(subject, SequenceModel):
        return False
    raise TypeError(
        f"A checker needs an aggregator (combine, identity) or a model (start, prefill, step, and a call), "
        f"got {type(subject).__name__}; give it the missing methods."
    )


def check_tokens(tokens: Any, *, batch: int = 1, length: int = 1) -> Tensor:
    """Return the tokens, or say what is wrong with them."""
    if not isinstance(tokens, Tensor) or tokens.is_complex() or tokens.dtype == torch.bool:
        got = tokens.dtype if isinstance(tokens, Tensor) else type(tokens).__name__
        raise TypeError(
            f"Tokens must be a tensor of integers or floating-point numbers, got {got}; "
            f"pass ids, or what the model takes in their place."
        )
    if tokens.dim() < 2 or tokens.shape[0] < batch or tokens.shape[1] < length:
        raise ValueError(
            f"Tokens must have shape (B, T) or (B, T, *token) with B >= {batch} and T >= {length} for this law, "
            f"got {tuple(tokens.shape)}; pass more of them."
        )
    return tokens


def check_states(leaves: State, *, batch: int = 1, length: int = 1) -> list[Tensor]:
    """Return the tensors of the leaves, or say what is wrong with them."""
    tensors, _ = check_leaves(leaves)
    B, N = tensors[0].shape[:2]
    if batch > B or length > N:
        raise ValueError(
            f"Leaves must have shape (B, N, ...) with B >= {batch} and N >= {length} for this law, "
            f"got {tuple(tensors[0].shape)}; pass more of them."
        )
    return tensors


def describe(subject: object, inputs: State) -> str:
    """Name the subject and the shapes it was checked on."""
    shapes = ", ".join(str(tuple(x.shape)) for x in flatten(inputs)[0])
    chunk = getattr(subject, "chunk", None)
    return f"{type(subject).__name__} on {shapes}" + (f" in chunks of {chunk}" if chunk else "")


def replica(subject: Any, dtype: torch.dtype | None = None) -> Any:
    """Copy the subject, in evaluation mode if it is a module, and in ``dtype`` if one is given."""
    twin = copy.deepcopy(subject)
    if isinstance(twin, nn.Module):
        twin.eval()
        if dtype is not None:
            twin._apply(lambda x: x.to(_dtype_for(x, dtype)))
    return twin


def own(state: State) -> State:
    """Copy a state, so that an operator that writes into its operands does not reach the caller's."""
    return tree_map(lambda x: x.detach().clone(), state)


def cast(state: State, dtype: torch.dtype) -> State:
    """Copy a state, and give its floating-point and complex tensors the precision of ``dtype``."""
    return tree_map(lambda x: x.detach().to(_dtype_for(x, dtype), copy=True), state)


def _dtype_for(x: Tensor, dtype: torch.dtype) -> torch.dtype:
    if x.is_complex():
        return dtype.to_complex()
    return dtype if x.is_floating_point() else x.dtype


@contextmanager
def explaining_dtypes(subject: Any) -> Iterator[None]:
    """Add to an error what may be behind it: tensors of the subject whose dtype a copy cannot change."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        dtypes = sorted({str(x.dtype) for x in loose(subject) if x.is_floating_point() or x.is_complex()})
        if not dtypes or not re.search("dtype|scalar type|float|double|complex", str(error).lower()):
            raise
        raise TypeError(
            f"{type(subject).__name__} must compute in the dtype of what it is given, but it holds tensors in "
            f"{', '.join(dtypes)} that this law cannot cast, and failed; make it an nn.Module with them as "
            f"parameters or buffers, or take the dtype of the states. It failed with: {error}"
        ) from error


def loose(subject: Any) -> list[Tensor]:
    """List the tensors that ``replica`` leaves in their dtype: attributes that no module has registered."""
    owners = list(subject.modules()) if isinstance(subject, nn.Module) else [subject]
    held: list[Any] = []
    for owner in owners:
        tree_map(held.append, _attributes(owner))
    inside = [p for x in held if isinstance(x, nn.Module) for p in (*x.parameters(), *x.buffers())]
    return [x for x in held if isinstance(x, Tensor)] + inside


def _attributes(owner: Any) -> dict[str, Any]:
    registered = ("_parameters", "_buffers", "_modules") if isinstance(owner, nn.Module) else ()
    return {name: x for name, x in getattr(owner, "__dict__", {}).items() if name not in registered}


def read(
    model: Any, tokens: Shaped[Tensor, "B T *token"], pieces: Sequence[Piece], stream: Any = None
) -> tuple[list[int], Float[Tensor, "B n V"], Any]:
    """Stream tokens piece by piece.

    Returns:
        The places whose logits were given, these logits, and the stream after them.
    """
    stream = model.start(batch=tokens.shape[0]) if stream is None else stream
    places, found, start = [], [], 0
    for how, size in pieces:
        piece = tokens[:, start : start + size]
        if how == "step":
            logits, stream = model.step(stream, piece[:, 0])
        else:
            logits, stream = model.prefill(stream, piece, logits=how)
        found.append(logits if how == "all" else logits[:, None])
        places += range(start, start + size) if how == "all" else [start + size - 1]
        start += size
    return places, torch.cat(found, 1), stream


TINY = torch.finfo(torch.float64).tiny


def wide(x: Tensor) -> Tensor:
    """Return the values in double precision, real or complex."""
    return x.detach().to(torch.complex128 if x.is_complex() else torch.float64)


def finite(x: Tensor) -> Tensor:
    """Return the values in double precision, 0 for what is not finite, to measure their scale."""
    x = wide(x)
    return x.where(x.isfinite(), 0)


def units(x: Tensor) -> Tensor:
    """Return the values that others are measured in: without infinities, and without what a mask put there.

    A channel with one value in all rows and places says nothing about the scale of the others, unless all are so:
    logits of -1e30, which no prediction is to choose, would hide any error in those that are computed.
    """
    x = finite(x)
    if x.dim() < 3 or not x.numel():
        return x
    rows = x.flatten(0, -2)
    varied = (rows != rows[0]).any(0)
    return rows[:, varied] if varied.any() else rows


def largest(x: Tensor) -> Tensor:
    """Return the largest of the values that others are measured in."""
    return units(x).abs().max().clamp_min(TINY) if x.numel() else wide(x.new_ones(()))


def apart(x: Tensor, y: Tensor) -> Tensor:
    """Subtract in double precision; equal infinities are not apart, and neither are two NaNs."""
    x, y = wide(x), wide(y)
    return (x - y).where((x != y) & ~(x.isnan() & y.isnan()), 0)


def relative(got: Tensor, expected: Tensor) -> float:
    """Measure the distance in units of what was expected, both by norm.

    Integers are equal or not: theirs is the share of those that are not.
    """
    if not (expected.is_floating_point() or expected.is_complex()):
        return float((got != expected).double().mean()) if expected.numel() else 0.0
    return float(apart(got, expected).norm() / units(expected).norm().clamp_min(TINY))


def furthest(got: State, expected: State) -> float:
    """Measure the largest relative distance of any tensor of a state."""
    return worst(relative(x, y) for x, y in zip(flatten(got)[0], flatten(expected)[0], strict=True))


def same(got: State, expected: State) -> bool:
    """Compare two states bit by bit (but for the sign of zero and NaN's payload)."""
    pairs = zip(flatten(got)[0], flatten(expected)[0], strict=True)
    return all(
        x.dtype == y.dtype and x.shape == y.shape and bool(((x == y) | (x != x) & (y != y)).all())
        for x, y in pairs
    )


def spread(length: int, most: int, chunk: int | None = None) -> list[int]:
    """Choose at most ``most`` places of ``length`` evenly (one: the last), and both sides of some chunks' ends.

    Raises:
        ValueError: If no place is to be chosen.
    """
    if most < 1:
        raise ValueError(
            f"places must be at least 1, got {most}; a law is checked at some place, or not at all."
        )
    if length <= most:
        return list(range(length))
    chosen = {round(i * (length - 1) / (most - 1)) for i in range(most)} if most > 1 else {length - 1}
    if chunk:
        starts = range(chunk, length, chunk)
        for place in spread(len(starts), max(1, most // 2)):
            chosen |= {starts[place] - 1, starts[place]}
    return sorted(chosen)
