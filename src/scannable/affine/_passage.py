"""From chunk to chunk where something is erased: a loop, as what a chunk writes depends on the state before it."""

from typing import Any

import torch
from torch import Tensor


class Passage(torch.autograd.Function):
    """Pass a state through chunks: ``S -> kept S + W^T u + shift``, with ``u = v + F S``.

    The adjoint is the same loop in the other direction, with ``W`` and ``F`` in each other's place: what a chunk wrote
    is where its cotangent is read. So any derivative is one loop more.

    Arguments of ``apply``, with the rows of all chunks along axis 0, ordered by rank:
        kept: ``(R, 1, 1)`` or ``(R, K, 1)``, or None.
        W: ``(R, C, K)``.
        F: ``(R, C, K)``.
        v: ``(R, C, V)``.
        shift: ``(R, K, V)``, or None.
        first: The first states, one for each row of the first rank, ``(rows, K, V)``.
        steps: How many rows each rank has.
        direction: 1 from the first rank to the last, -1 back.

    It returns ``u``; the state before each chunk, ``(R, K, V)``; and the last states.
    """

    @staticmethod
    def forward(
        ctx: Any,
        kept: Tensor | None,
        W: Tensor,
        F: Tensor,
        v: Tensor,
        shift: Tensor | None,
        first: Tensor,
        steps: list[int],
        direction: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        state = first.clone()
        starts = first.new_empty(sum(steps), *first.shape[1:])
        u = v.new_empty(v.shape)
        parts = [
            [None] * len(steps) if x is None else x.split(steps) for x in (kept, W, F, v, shift, starts, u)
        ]
        ranks = list(zip(*parts, strict=True))
        for keep, write, read, value, add, start, written in ranks[::direction]:
            here = state[: len(start)]
            start.copy_(here)
            torch.baddbmm(value, read, here, out=written)
            if keep is not None:
                here.mul_(keep)
            here.baddbmm_(write.mT, written)
            if add is not None:
                here.add_(add)
        ctx.save_for_backward(kept, W, F, u, starts)
        ctx.steps, ctx.direction = steps, direction
        return u, starts, state

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
        kept, W, F, u, starts = ctx.saved_tensors
        of_u, of_starts, of_last = cotangents
        found, after, of_first = Passage.apply(
            kept, F, W, of_u, of_starts, of_last, ctx.steps, -ctx.direction
        )
        of_kept = None if kept is None else (after * starts).sum_to_size(kept.shape)
        of_shift = after if ctx.needs_input_grad[4] else None
        return of_kept, u @ after.mT, found @ starts.mT, found, of_shift, of_first, None, None
