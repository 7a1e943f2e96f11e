"""The chunkwise form: matrix products inside chunks, and a loop from chunk to chunk.

With ``L[t, s] = erase_t k_t^T (decay from s to t) k_s`` below the diagonal, what token ``t`` really writes is
``u_t = erase_t (v_t - k_t^T (decay since the chunk began) S_0) - sum over s < t of L[t, s] u_s``. The inverse of this
triangular system, applied to both of its right sides, leaves two products a chunk to the loop (arXiv 2406.06484,
Section 3.2).
"""

import torch
from torch import Tensor

from scannable.affine import reference
from scannable.affine._heads import for_each_head
from scannable.affine._layout import Layout
from scannable.affine._passage import Passage
from scannable.affine._scores import weigh
from scannable.affine._summed import summed

CHUNK = 32
"""``C``: with more tokens the work inside chunks dominates, with fewer that between them."""

LONGEST = {"cpu": CHUNK, "cuda": 128}
"""``C`` where states are large and nothing is erased: a GPU waits for memory, and longer chunks have fewer states."""


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

    Beside these, ``lengths`` are those of packed sequences, or None, and ``product`` is the dtype of operands whose
    products are only read out; states are never rounded to it.
    """
    if not q.shape[1]:
        return v, state
    longest = q.shape[1] if lengths is None else max(lengths)
    one = longest == 1 and lengths is None
    if erase is None and not one:
        size = _size(k, v, longest)
        return summed(q, k, v, decay, state, before=before, lengths=lengths, product=product, size=size)
    q, k, v = (x.to(state.dtype) for x in (for_each_head(q, v.shape[2]), for_each_head(k, v.shape[2]), v))
    if erase is None or one:
        return reference.recurrence(q, k, v, decay, erase, state, before=before)
    size = min(CHUNK, 1 << (longest - 1).bit_length())
    layout = Layout(q.shape[0], q.shape[1], q.shape[2], lengths, size)
    q, k, v = (layout.fold(x) for x in (q, k, v))
    decay = None if decay is None else layout.fold(decay)
    (scores, reads), keys, writes, kept = weigh(q, k, decay, product, before=before, erasing=True)
    assert keys is not None
    state = layout.sort(state)
    strength = layout.fold(erase)[..., None]
    one = torch.eye(size, dtype=k.dtype, device=k.device).expand_as(keys.scores)
    inverse = torch.linalg.solve_triangular(strength * keys.scores, one, upper=False, unitriangular=True)
    v, erased = inverse @ (strength * v), inverse @ (-strength * keys.reads)
    written, starts, last = Passage.apply(kept, writes, erased, v, None, state, layout.steps, 1)
    outputs = scores.to(product) @ written.to(product) + reads @ starts
    return layout.unfold(outputs), layout.unsort(last)


def _size(k: Tensor, v: Tensor, longest: int) -> int:
    """Return ``C``: a head has about as many scores in a chunk as numbers in its state."""
    size, most = CHUNK, LONGEST.get(k.device.type, LONGEST["cuda"])
    while size < most and size * size < k.shape[3] * v.shape[3]:
        size *= 2
    return min(size, 1 << (longest - 1).bit_length())
