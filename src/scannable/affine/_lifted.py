"""The tree form: lifted pairs through the generic scan, as any aggregator's states go."""

from typing import Any

import torch
from torch import Tensor

from scannable.affine._actions import Action, Elementwise, lift
from scannable.scans import scan


def recurrence(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor | None,
    erase: Tensor | None,
    state: Tensor,
    *,
    before: bool,
    lengths: list[int] | None,
) -> tuple[Tensor, Tensor]:
    """Run a matrix recurrence; arguments are those of ``reference.recurrence``."""
    if not q.shape[1]:
        return v, state
    states, last = states_of(*lift(k, v, decay, erase), state, lengths=lengths)
    if before:
        states = earlier(states, state, lengths)
    return (q[..., None, :] @ states).squeeze(-2), last


def elementwise(
    write: Tensor, decay: Tensor, state: Tensor, *, lengths: list[int] | None
) -> tuple[Tensor, Tensor]:
    """Run an elementwise recurrence; arguments are those of ``reference.elementwise``."""
    if not write.shape[1]:
        return write, state
    return states_of(Elementwise(), (decay.exp(), write), state, lengths=lengths)


def states_of(
    action: Action, leaves: Any, first: Tensor, *, lengths: list[int] | None
) -> tuple[Tensor, Tensor]:
    """Scan the maps of at least one token, and let each act on the first state of its sequence.

    Args:
        action: How pairs compose and act.
        leaves: Pairs, ``(B, T, ...)``.
        first: The state before each sequence, ``(n, ...)``.
        lengths: Of packed sequences, or None.

    Returns:
        The states behind each token, ``(B, T, ...)``, and the last one of each sequence.
    """
    shape = leaves[1].shape[:2]
    counts, firsts = _bounds(shape, lengths, first.device)
    offsets = None if lengths is None else [0, *counts.cumsum(0).tolist()]
    element, shift = scan(action, leaves, inclusive=True, offsets=offsets)
    element = element if isinstance(element, tuple) else element.flatten(0, 1)
    after = action.apply((element, shift.flatten(0, 1)), first.repeat_interleave(counts, 0))
    last, some = first.clone(), counts > 0
    last[some] = after[(firsts + counts - 1)[some]]
    return after.unflatten(0, shape), last


def earlier(after: Tensor, first: Tensor, lengths: list[int] | None) -> Tensor:
    """Return the states before each token, from those behind each and those before each sequence."""
    counts, firsts = _bounds(after.shape[:2], lengths, first.device)
    flat, some = after.flatten(0, 1), counts > 0
    before = torch.cat([flat[:1], flat[:-1]])
    before[firsts[some]] = first[some]
    return before.view(after.shape)


def _bounds(shape: torch.Size, lengths: list[int] | None, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return how many tokens each sequence has, and where it begins if all are laid end to end."""
    alike = torch.full(shape[:1], shape[1], device=device)
    counts = alike if lengths is None else torch.tensor(lengths, device=device)
    return counts, counts.cumsum(0) - counts
