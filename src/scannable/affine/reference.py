"""The definition of both recurrences, as loops over time. Everything faster is compared with this file."""

import torch
from torch import Tensor


def recurrence(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor | None,
    erase: Tensor | None,
    state: Tensor,
    *,
    before: bool = False,
) -> tuple[Tensor, Tensor]:
    """Step through ``S_t = (I - erase_t k_t k_t^T) Diag(exp decay_t) S_{t-1} + write_t k_t v_t^T``.

    Args:
        q: ``(B, T, H, K)``; the output is ``S_t^T q_t``, or ``S_{t-1}^T q_t`` if ``before``.
        k: ``(B, T, H, K)``.
        v: ``(B, T, H, V)``.
        decay: ``(B, T, H)``, ``(B, T, H, K)``, or None for zero.
        erase: ``(B, T, H)``, which is then ``write`` too, or None: nothing is erased, and ``write`` is one.
        state: ``S_0``, ``(B, H, K, V)``.
        before: Whether token ``t`` reads the state before it.

    Returns:
        Outputs ``(B, T, H, V)`` and the last state.
    """
    if not q.shape[1]:
        return v, state
    keep = None if decay is None else decay.exp().view(*decay.shape[:3], -1, 1).unbind(1)
    strengths = None if erase is None else erase[..., None].unbind(1)
    outputs = []
    for t, (query, key, value) in enumerate(zip(q.unbind(1), k.unbind(1), v.unbind(1), strict=True)):
        if before:
            outputs.append(_read(query, state))
        if keep is not None:
            state = keep[t] * state
        if strengths is not None:
            # (I - b k k^T) S + b k v^T, where what is written is what the state does not yet say of k.
            value = strengths[t] * (value - _read(key, state))
        state = state + key[..., None] * value[..., None, :]
        if not before:
            outputs.append(_read(query, state))
    return torch.stack(outputs, 1), state


def elementwise(write: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Step through ``s_t = exp(decay_t) * s_{t-1} + write_t``, all ``(B, T, ...)``; return all states and the last."""
    if not write.shape[1]:
        return write, state
    states = []
    for shift, kept in zip(write.unbind(1), decay.exp().unbind(1), strict=True):
        state = kept * state + shift
        states.append(state)
    return torch.stack(states, 1), state


def _read(query: Tensor, state: Tensor) -> Tensor:
    return (query[..., None, :] @ state).squeeze(-2)
