"""The fast form of the elementwise recurrence: a loop over time, with spans of time side by side where that pays."""

from typing import Any

import torch
from torch import Tensor

# So many entries an operation at least, if time can be cut into enough spans: below, calls cost more than numbers.
ENTRIES = {"cpu": 1 << 13, "cuda": 1 << 20}


def elementwise(write: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return all states of ``s_t = exp(decay_t) * s_{t-1} + write_t``, ``(B, T, ...)``, and the last."""
    if not write.shape[1]:
        return write, state
    states = _Scan.apply(decay.exp(), write, state, 1)
    # A view of the last state would keep all of them alive.
    return states[:, 1:], states[:, -1].clone()


class _Scan(torch.autograd.Function):
    """Scan ``n`` steps from a first state, forwards (1) or backwards (-1) in time, and return all ``n + 1`` states.

    Its adjoint is the same scan in the other direction, through the same gates; so any derivative is one scan more.
    """

    @staticmethod
    def forward(ctx: Any, gate: Tensor, write: Tensor, first: Tensor, direction: int) -> Tensor:
        backwards = direction == -1
        batch, steps, *rest = write.shape
        states = write.new_empty(batch, steps + 1, *rest)
        states[:, -1 if backwards else 0] = first
        span = slice(None, -1) if backwards else slice(1, None)
        _fill(gate, write, first, states[:, span], backwards)
        ctx.save_for_backward(gate, states)
        ctx.direction = direction
        return states

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        gate, states = ctx.saved_tensors
        (given,) = cotangents
        if ctx.direction == -1:
            found = _Scan.apply(gate, given[:, 1:], given[:, 0], 1)
            return found[:, :-1] * states[:, 1:], found[:, :-1], found[:, -1], None
        found = _Scan.apply(gate, given[:, :-1], given[:, -1], -1)
        return found[:, 1:] * states[:, :-1], found[:, 1:], found[:, 0], None


def _fill(gate: Tensor, write: Tensor, first: Tensor, states: Tensor, backwards: bool) -> None:
    """Write the states after each step into ``states``."""
    steps = write.shape[1]
    wanted = ENTRIES.get(write.device.type, ENTRIES["cuda"]) // max(1, first.numel())
    spans = min(wanted, int(steps**0.5))
    if spans < 2:
        _loop(gate, write, first, states, backwards)
        return
    size = steps // spans
    # What does not fill a span comes last.
    rest = slice(None, steps - spans * size) if backwards else slice(spans * size, None)
    whole = slice(steps - spans * size, None) if backwards else slice(None, spans * size)
    gates, writes, filled = (x[:, whole].unflatten(1, (spans, size)) for x in (gate, write, states))
    order = range(size)[::-1] if backwards else range(size)
    # What each span makes of nothing, and what it keeps of what is there before it.
    made = torch.zeros_like(writes[:, :, 0])
    for step in order:
        made = torch.addcmul(writes[:, :, step], gates[:, :, step], made)
    kept = gates.prod(2)
    starts: list[Tensor] = [first]
    others = range(spans)[:0:-1] if backwards else range(spans - 1)
    for span in others:
        starts.append(torch.addcmul(made[:, span], kept[:, span], starts[-1]))
    states_now = torch.stack(starts[::-1] if backwards else starts, 1)
    for step in order:
        states_now = torch.addcmul(writes[:, :, step], gates[:, :, step], states_now, out=filled[:, :, step])
    last = states_now[:, 0] if backwards else states_now[:, -1]
    _loop(gate[:, rest], write[:, rest], last, states[:, rest], backwards)


def _loop(gate: Tensor, write: Tensor, state: Tensor, states: Tensor, backwards: bool) -> None:
    steps = list(zip(gate.unbind(1), write.unbind(1), states.unbind(1), strict=True))
    for kept, shift, out in reversed(steps) if backwards else steps:
        state = torch.addcmul(shift, kept, state, out=out)
