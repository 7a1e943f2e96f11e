"""The tree form: lifted pairs through the generic scan, as any aggregator's states go."""

from itertools import accumulate
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
    offsets = None if lengths is None else [0, *accumulate(lengths)]
    element, shift = scan(action, leaves, inclusive=True, offsets=offsets)
    pairs = element if isinstance(element, tuple) else element.flatten(0, 1), shift.flatten(0, 1)
    if lengths is None:
        # A number, not a tensor of counts, for which a graph that is captured could not wait.
        after = action.apply(pairs, first.repeat_interleave(shape[1], 0)).unflatten(0, shape)
        return after, after[:, -1].clone()
    counts, firsts = _bounds(lengths, first.device)
    after = action.apply(pairs, first.repeat_interleave(counts, 0))
    last, some = first.clone(), counts > 0
    last[some] = after[(firsts + counts - 1)[some]]
    return after.unflatten(0, shape), last


def earlier(after: Tensor, first: Tensor, lengths: list[int] | None) -> Tensor:
    """Return the states before each token, from those behind each and those before each sequence."""
    if lengths is None:
        return torch.cat([first[:, None], after[:, :-1]], 1)
    counts, firsts = _bounds(lengths, first.device)
    flat, some = after.flatten(0, 1), counts > 0
    before = torch.cat([flat[:1], flat[:-1]])
    before[firsts[some]] = first[some]
    return before.view(after.shape)


def _bounds(lengths: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return how many tokens each packed sequence has, and where it begins."""
    counts = torch.tensor(lengths, device=device)
    return counts, counts.cumsum(0) - counts
