"""What tokens say to later chunks, through states, where nothing is erased.

A chunk writes ``sum of k_s (w_s v_s)^T``; states are passed on, ``S -> kept S + what was written``; and the tokens of
the next chunk read ``w_t S^T q_t``. The adjoint is the same backwards in time, queries and keys in each other's place.

What states are made of, and their gradients, is multiplied and added in their own dtype. All else is only read out of
one or the other, and may be multiplied in a narrower dtype.
"""

from typing import Any

import torch
from torch import Tensor

from scannable.affine._derivatives import differentiate


class Through(torch.autograd.Function):
    """Read at each token what earlier chunks wrote.

    Arguments of ``apply``, with rows ordered by rank, ``J`` heads to a row that share its queries and keys:
        q: ``(R, C, K)``.
        k: ``(R, C, K)``.
        v: ``(R, C, J, V)``, in the dtype in which what is only read out is multiplied.
        since: What each token and head sees of the state before the chunk, ``(R, C, J)``, or None for all of it.
        until: What the state behind the chunk sees of each token and head, ``(R, C, J)``, or None for all of it.
        kept: What it sees of the state before, ``(R, 1, J, 1)`` or ``(R, K, 1, 1)``, or None for all of it.
        first: The first states, one for each row of the first rank, ``(rows, K, J, V)``.
        steps: How many rows each rank has.

    It returns what is read, ``(R, C, J, V)``, and the last states.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        *tensors, ctx.steps = inputs
        outputs, last, starts, read = _through(*tensors, steps=ctx.steps)
        ctx.save_for_backward(*tensors, starts, read)
        return outputs, last

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, starts, read = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *differentiate(lambda *x: _through(*x, steps=ctx.steps)[:2], inputs, cotangents), None
        q, k, v, since, until, kept, first = inputs
        given, of_last = cotangents
        of_starts = _write(q, given, since, first.dtype)
        after, of_first = _pass(kept, of_starts, of_last, ctx.steps, -1, v.dtype)
        found = _read(k, after)
        of_since = None if since is None else (given * read).sum(3, dtype=since.dtype)
        of_until = None if until is None else (v * found).sum(3, dtype=until.dtype)
        of_kept = None
        if kept is not None:
            axes = [axis for axis, size in enumerate(kept.shape) if size == 1]
            of_kept = (after * starts).sum(axes, keepdim=True, dtype=kept.dtype)
        of_q, of_k = _against(_weighed(given, since), starts), _against(_weighed(v, until), after)
        return of_q, of_k, _weighed(found, until), of_since, of_until, of_kept, of_first, None


def _through(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    since: Tensor | None,
    until: Tensor | None,
    kept: Tensor | None,
    first: Tensor,
    *,
    steps: list[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what ``Through`` does; the state before each chunk; and what is read of it before it is weighed."""
    starts, last = _pass(kept, _write(k, v, until, first.dtype), first, steps, 1, v.dtype)
    read = _read(q, starts)
    return _weighed(read, since), last, starts, read


def _write(k: Tensor, v: Tensor, w: Tensor | None, wide: torch.dtype) -> Tensor:
    """Return ``sum of k_s (w_s v_s)^T`` for each chunk, ``(R, K, J, V)``, in the dtype of states."""
    weighed = v.to(wide) if w is None else w[..., None] * v
    return (k.to(wide).mT @ weighed.flatten(2)).unflatten(2, v.shape[2:])


def _read(q: Tensor, states: Tensor) -> Tensor:
    """Return ``S^T q_t`` for each token, ``(R, C, J, V)``, in the dtype of the states given."""
    return (q.to(states.dtype) @ states.flatten(2)).unflatten(2, states.shape[2:])


def _against(v: Tensor, states: Tensor) -> Tensor:
    """Return ``S v_t``, summed over heads: what a key or a query learns of the values at its other end."""
    return v.flatten(2) @ states.flatten(2).mT


def _weighed(v: Tensor, w: Tensor | None) -> Tensor:
    return v if w is None else w[..., None].to(v.dtype) * v


def _pass(
    kept: Tensor | None,
    written: Tensor,
    first: Tensor,
    steps: list[int],
    direction: int,
    product: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Return the state before each chunk, rounded for reading, and the last ones, not rounded."""
    state, starts = first, []
    keeps = [None] * len(steps) if kept is None else kept.split(steps)
    for keep, write in list(zip(keeps, written.split(steps), strict=True))[::direction]:
        here, others = state[: len(write)], state[len(write) :]
        starts.append(here.to(product))
        here = here + write if keep is None else torch.addcmul(write, keep, here)
        state = torch.cat([here, others]) if len(others) else here
    return torch.cat(starts[::direction]), state
