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
    states, last = _states(*lift(k, v, decay, erase), state, before=before, lengths=lengths)
    return (q[..., None, :] @ states).squeeze(-2), last


def elementwise(
    write: Tensor, decay: Tensor, state: Tensor, *, lengths: list[int] | None
) -> tuple[Tensor, Tensor]:
    """Run an elementwise recurrence; arguments are those of ``reference.elementwise``."""
    if not write.shape[1]:
        return write, state
    return _states(Elementwise(), (decay.exp(), write), state, before=False, lengths=lengths)


def _states(
    action: Action, leaves: Any, first: Tensor, *, before: bool, lengths: list[int] | None
) -> tuple[Tensor, Tensor]:
    """Scan the maps, and let each act on the first state of its sequence; also return the last states."""
    batch, length = leaves[1].shape[:2]
    if lengths is None:
        starts, places = first.repeat_interleave(length, 0), torch.arange(batch, device=first.device) * length
        offsets, counts = None, torch.full((batch,), length, device=first.device)
    else:
        counts = torch.tensor(lengths, device=first.device)
        ends = counts.cumsum(0)
        starts, places = first.repeat_interleave(counts, 0), ends - counts
        offsets = [0, *ends.tolist()]
    element, shift = scan(action, leaves, inclusive=True, offsets=offsets)
    element = element if isinstance(element, tuple) else element.flatten(0, 1)
    after = shift.flatten(0, 1) + action.act(element, starts)
    last, some = first.clone(), counts > 0
    last[some] = after[(places + counts - 1)[some]]
    if before:
        after = torch.cat([after[:1], after[:-1]])
        after[places[some]] = first[some]
    return after.unflatten(0, (batch, length)), last
