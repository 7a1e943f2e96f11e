"""The chunkwise form where nothing is erased: what is written is known, so all chunks but for their states are alike.

Heads that share keys, as in Mamba-2's groups, share the products of queries and keys, and each weighs them with its own
decays (arXiv 2405.21060, Section 6).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from scannable.affine._decays import Weigh, segments
from scannable.affine._heads import for_each_head
from scannable.affine._layout import Layout
from scannable.affine._scores import weigh
from scannable.affine._states import Through


def summed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor | None,
    state: Tensor,
    *,
    before: bool,
    lengths: list[int] | None,
    product: torch.dtype,
    size: int,
) -> tuple[Tensor, Tensor]:
    """Run a matrix recurrence without erasing; arguments are those of ``chunkwise``, and ``C``."""
    by_channel = decay is not None and decay.dim() == 4
    if by_channel:
        q, k = (for_each_head(x, v.shape[2]) for x in (q, k))
    groups = q.shape[2]
    layout = Layout(q.shape[0], q.shape[1], groups, lengths, size)
    q, k, v = (layout.fold(x.to(product)) for x in (q, k, v.unflatten(2, (groups, -1))))
    state = layout.sort(state.unflatten(1, (groups, -1)).transpose(2, 3))
    since = until = kept = None
    if by_channel:
        q, k, decay = q.to(state.dtype), k.to(state.dtype), layout.fold(decay)
        (scores, q), _, k, kept = weigh(q, k, decay, product, before=before, erasing=False)
        assert kept is not None
        scores, kept = scores[:, None], kept[..., None]
    elif decay is None:
        scores = (q @ k.mT).tril(-before)[:, None]
    else:
        decay = layout.fold(decay.unflatten(2, (groups, -1))).mT
        parts, since, until, kept = segments(decay.flatten(0, 1))
        scores = Weigh.apply(q @ k.mT, before, *parts)
        since = F.pad(since, (1, -1)) if before else since
        since, until, kept = (x.exp().unflatten(0, decay.shape[:2]) for x in (since, until, kept))
        since, until, kept = since.mT.contiguous(), until.mT.contiguous(), kept[:, None]
    within = (scores.to(product) @ v.transpose(1, 2)).transpose(1, 2)
    earlier, last = Through.apply(q, k, v, since, until, kept, state, layout.steps)
    outputs = layout.unfold(earlier + within).flatten(2, 3)
    return outputs, layout.unsort(last).transpose(2, 3).flatten(1, 2)
