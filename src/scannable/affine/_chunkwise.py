"""The chunkwise form: matrix products inside chunks, and one lifted pair a chunk from chunk to chunk.

With ``L[t, s] = k_t^T (decay from s to t) k_s`` below the diagonal, what token ``t`` really writes is
``u_t = erase_t (v_t - k_t^T (decay since the chunk began) S_0 - sum over s < t of L[t, s] u_s)``: a triangular system,
solved once for ``v`` and once for the factors of ``S_0`` (arXiv 2406.06484, Section 3.2, without its inverse).
"""

import torch
from torch import Tensor

from scannable.affine import reference
from scannable.affine._actions import Action, Dense, Diagonal, Element, Identity, Scalar
from scannable.affine._layout import Layout
from scannable.affine._scores import weigh

CHUNK = 64
"""``C``: with more tokens the products inside chunks dominate, with fewer the loop over chunks."""


def chunkwise(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor | None,
    erase: Tensor | None,
    state: Tensor,
    *,
    before: bool,
    lengths: list[int] | None,
    product: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Run a matrix recurrence; arguments are those of ``reference.recurrence``, in the dtype of the state.

    Args:
        lengths: Of packed sequences, or None.
        product: The dtype of operands whose products are only read out; states are never rounded to it.
    """
    longest = q.shape[1] if lengths is None else max(lengths, default=0)
    if longest <= 1 and lengths is None:
        return reference.recurrence(q, k, v, decay, erase, state, before=before)
    if not q.shape[1]:
        return v, state
    size = min(CHUNK, 1 << (longest - 1).bit_length())
    layout = Layout(q.shape[0], q.shape[1], lengths, size)
    q, k, v = (layout.fold(x) for x in (q, k, v))
    decay = None if decay is None else layout.fold(decay)
    scores, reads, writes, kept = weigh(q, k, decay, product, before=before)
    if erase is None:
        action, element, solved, factors = _scaling(kept), kept, v, None
    else:
        strength = layout.fold(erase)[..., None]
        own = weigh(k, k, decay, k.dtype)
        system, right = strength * own.scores, strength * torch.cat([v, own.reads], -1)
        both = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
        solved, factors = both.split([v.shape[-1], k.shape[-1]], -1)
        start = torch.eye(k.shape[-1], dtype=k.dtype, device=k.device)
        start = start if decay is None else start * kept.view(*k.shape[:2], 1, -1)
        action, element = Dense(), start - writes.mT @ factors
    starts, last = _through(action, element, writes.mT @ solved, state, layout)
    written = solved if factors is None else solved - factors @ starts
    outputs = scores.to(product) @ written.to(product) + reads.to(product) @ starts.to(product)
    return layout.unfold(outputs), last


def _scaling(kept: Element) -> Action:
    if isinstance(kept, tuple):
        return Identity()
    return Scalar() if kept.dim() == 2 else Diagonal()


def _through(
    action: Action, element: Element, shift: Tensor, state: Tensor, layout: Layout
) -> tuple[Tensor, Tensor]:
    """Go from chunk to chunk; return the state before each chunk, and the last state of each sequence."""
    shifts = shift.split(layout.steps)
    elements = element.split(layout.steps) if isinstance(element, Tensor) else [()] * len(shifts)
    state, starts, ended = layout.sort(state), [], []
    for count, pair in zip(layout.steps, zip(elements, shifts, strict=True), strict=True):
        if count < len(state):
            state, done = state[:count], state[count:]
            ended.append(done)
        starts.append(state)
        state = pair[1] + action.act(pair[0], state)
    return torch.cat(starts), layout.unsort(torch.cat([state, *reversed(ended)]))
