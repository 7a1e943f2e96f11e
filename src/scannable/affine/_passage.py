"""From chunk to chunk: the one loop over time that the chunkwise form has left."""

from typing import Any

import torch
from torch import Tensor


class Passage(torch.autograd.Function):
    """Pass a state through chunks: ``S -> kept S + shift``, or ``S -> kept S + W^T u`` with ``u = v + F S``.

    The adjoint is the same loop in the other direction, with ``W`` and ``F`` in each other's place: what a chunk wrote
    is where its cotangent is read. So any derivative is one loop more.

    Arguments of ``apply``, with the rows of all chunks along axis 0, ordered by rank:
        kept: ``(R, 1, 1)`` or ``(R, K, 1)``, or None.
        W: ``(R, C, K)``, or None, and then so are ``F`` and ``v``.
        F: ``(R, C, K)``.
        v: ``(R, C, V)``.
        shift: ``(R, K, V)``, or None.
        first: The first states, one for each row of the first rank, ``(rows, K, V)``.
        steps: How many rows each rank has.
        direction: 1 from the first rank to the last, -1 back.

    It returns ``u``, or None; the state before each chunk, ``(R, K, V)``; and the last states.
    """

    @staticmethod
    def forward(
        ctx: Any,
        kept: Tensor | None,
        W: Tensor | None,
        F: Tensor | None,
        v: Tensor | None,
        shift: Tensor | None,
        first: Tensor,
        steps: list[int],
        direction: int,
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        state = first.clone()
        starts = first.new_empty(sum(steps), *first.shape[1:])
        u = None if v is None else v.new_empty(v.shape)
        parts = [
            [None] * len(steps) if x is None else x.split(steps) for x in (kept, W, F, v, shift, starts, u)
        ]
        ranks = list(zip(*parts, strict=True))
        for keep, write, read, value, add, start, written in ranks[::direction]:
            here = state[: len(start)]
            start.copy_(here)
            if read is not None:
                torch.baddbmm(value, read, here, out=written)
            if keep is not None:
                here.mul_(keep)
            if write is not None:
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
            kept, F, W, of_u if W is not None else None, of_starts, of_last, ctx.steps, -ctx.direction
        )
        of_kept = None if kept is None else (after * starts).sum_to_size(kept.shape)
        of_W, of_F = (None, None) if W is None else (u @ after.mT, found @ starts.mT)
        of_shift = after if ctx.needs_input_grad[4] else None
        return of_kept, of_W, of_F, found, of_shift, of_first, None, None
