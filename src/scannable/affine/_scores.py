"""What a chunk's tokens have to say to each other, and to the states before and behind the chunk.

Between token ``s`` and a later ``t`` lies the decay ``sum of decay_j over s < j <= t``. It is always summed over that
very segment, or multiplied over it, as gates. A difference of two cumulative sums would be undefined after a decay of
minus infinity, and the quotient of two cumulative products would overflow long before.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from scannable.affine._decays import factors, segments
from scannable.affine._derivatives import differentiate


class Reading(NamedTuple):
    """What queries, or keys in their place, read.

    Attributes:
        scores: What token ``t`` reads of token ``s``, ``(R, C, C)``.
        reads: Queries with the decay since the chunk began, ``(R, C, K)``.
    """

    scores: Tensor
    reads: Tensor


class Weighed(NamedTuple):
    """A chunk's queries and keys with the decays between them.

    Attributes:
        queries: What is read out; scores are zero above the diagonal.
        keys: What is erased, if anything is; only scores below the diagonal mean anything.
        writes: Keys with the decay until the chunk ends, ``(R, C, K)``.
        kept: The decay of the whole chunk as a factor of the state, ``(R, 1, 1)`` or ``(R, K, 1)``, or None.
    """

    queries: Reading
    keys: Reading | None
    writes: Tensor
    kept: Tensor | None


def weigh(
    q: Float[Tensor, "R C K"],
    k: Float[Tensor, "R C K"],
    decay: Float[Tensor, "R C *K"] | None,
    product: torch.dtype,
    *,
    before: bool,
    erasing: bool,
) -> Weighed:
    """Weigh queries and keys of chunks, of a power of two tokens, with the decays between them.

    Args:
        q: Queries.
        k: Keys.
        decay: In log space; for each head, for each channel of its keys, or none.
        product: The dtype in which queries meet keys, unless each channel has its decay.
        before: Whether query ``t`` reads the state before its token: neither that nor its decay.
        erasing: Whether keys read, too, always with their decay.
    """
    if decay is None:
        keys = Reading(_meet(k, k, k.dtype), k) if erasing else None
        return Weighed(Reading(_meet(q, k, product).tril(-before), q), keys, k, None)
    if decay.dim() == 3:
        return _by_halves(q, k, decay.exp(), before, erasing)
    parts, since, until, total = segments(decay)
    seen = factors(parts)
    keys = Reading(_meet(k, k, k.dtype) * seen, since.exp()[..., None] * k) if erasing else None
    if before:
        seen, since = F.pad(seen, (0, 0, 1, -1)), F.pad(since, (1, -1))
    queries = Reading(_meet(q, k, product) * seen, since.exp()[..., None] * q)
    return Weighed(queries, keys, until.exp()[..., None] * k, total.exp()[..., None])


def _meet(q: Tensor, k: Tensor, product: torch.dtype) -> Tensor:
    return (q.to(product) @ k.to(product).mT).to(q.dtype)


def _by_halves(q: Tensor, k: Tensor, gate: Tensor, before: bool, erasing: bool) -> Weighed:
    """Weigh channel by channel: what the second half of a span reads of the first passes through its middle."""
    scores, reads, writes, total = _Doubling.apply(q, k, gate, before, erasing)
    read = [Reading(*one) for one in zip(scores.unbind(2), reads.unbind(2), strict=True)]
    return Weighed(read[0], read[1] if erasing else None, writes, total.mT)


class _Doubling(torch.autograd.Function):
    """Let readers meet keys, in spans that double from single tokens to the chunk, as in the up-sweep of a scan.

    Readers have the gates since their span began and keys those until theirs ends, so the readers of a second half and
    the keys of the first meet in a matrix product. Only these halves change, in place, on the way up and, in the
    adjoint, down. What they were is kept, because a gate of zero cannot be divided out.

    Arguments of ``apply`` are those of ``_by_halves``. It returns, with queries and, if they read, keys side by side
    along axis 2, scores, ``(R, C, readers, C)``, and readers, ``(R, C, readers, K)``; keys with the gates until the
    chunk ends; and the product of all gates, ``(R, 1, K)``.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, gate: Tensor, before: bool, erasing: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found, halves = _double(q, k, gate, before, erasing)
        ctx.save_for_backward(q, k, gate, *halves)
        ctx.before, ctx.erasing = before, erasing
        return found

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        q, k, gate, *halves = ctx.saved_tensors
        before, erasing = ctx.before, ctx.erasing
        if torch.is_grad_enabled():
            run = lambda q, k, gate: _double(q, k, gate, before, erasing)[0]  # noqa: E731
            return *differentiate(run, (q, k, gate), cotangents), None, None
        of_scores, of_readers, of_keys, of_total = cotangents
        of_readers, of_keys = (x.clone(memory_format=torch.contiguous_format) for x in (of_readers, of_keys))
        while halves:
            *halves, second, early, gone, left = halves
            spans = gone.shape[1]
            of_second, of_early, of_total = (
                _half(of_readers, spans, 1),
                _half(of_keys, spans, 0),
                of_total[:, :, None],
            )
            of_gone = (of_second * second).sum(2, keepdim=True).addcmul_(of_total, left)
            of_left = (of_early * early).sum(2, keepdim=True).addcmul_(of_total, gone)
            of_total = torch.cat([of_gone, of_left], 2).flatten(1, 2)
            of_across = _across(of_scores, spans).contiguous()
            _add_product(of_second.mul_(gone), of_across, early)
            _add_product(of_early.mul_(left), of_across.mT, second)
        of_gate, of_q = of_total, of_readers[:, :, 0]
        if not before:
            of_gate = of_gate.addcmul(of_q, q)
        if erasing:
            of_gate = of_gate.addcmul(of_readers[:, :, 1], k)
        of_readers[:, :, before:].mul_(gate[:, :, None])
        if erasing:
            of_keys.add_(of_readers[:, :, 1])
        if not before:
            of_itself = of_scores[:, :, 0].diagonal(0, 1, 2)[..., None]
            of_q.addcmul_(of_itself, k)
            of_keys.addcmul_(of_itself, q)
        return of_q, of_keys, of_gate, None, None


def _double(
    q: Tensor, k: Tensor, gate: Tensor, before: bool, erasing: bool
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], list[Tensor]]:
    """Return what ``_Doubling`` does, and for each level the halves that met and the gates of both halves."""
    readers, keys = torch.stack([q, k] if erasing else [q], 2), k.clone(memory_format=torch.contiguous_format)
    readers[:, :, before:].mul_(gate[:, :, None])
    scores, total, halves = k.new_zeros(*readers.shape[:3], k.shape[1]), gate, []
    if not before:
        scores[:, :, 0].diagonal(0, 1, 2).copy_((q * k).sum(-1))
    while total.shape[1] > 1:
        spans = total.shape[1] // 2
        gone, left = _half(total, spans, 0), _half(total, spans, 1)
        second, early = _half(readers, spans, 1), _half(keys, spans, 0)
        met = second.clone(), early.clone()
        _across(scores, spans).copy_(met[0] @ met[1].mT)
        halves += [*met, gone, left]
        second.mul_(gone)
        early.mul_(left)
        total = (gone * left).flatten(1, 2)
    return (scores, readers, keys, total), halves


def _half(x: Tensor, spans: int, which: int) -> Tensor:
    """View the first (0) or the second (1) half of all spans, ``(R, spans, rows, width)``."""
    return x.flatten(1, -2).unflatten(1, (spans, 2, -1))[:, :, which]


def _across(scores: Tensor, spans: int) -> Tensor:
    """View what the second half of each span reads of the first, ``(R, spans, rows, size)``."""
    return _half(scores, spans, 1).unflatten(3, (spans, 2, -1))[..., 0, :].diagonal(0, 1, 3).movedim(-1, 1)


def _add_product(to: Tensor, one: Tensor, other: Tensor) -> None:
    """Add a matrix product to a view; over few rows one would cost more than what it computes."""
    if other.shape[2] > 4:
        to.add_(one @ other)
        return
    for row in range(other.shape[2]):
        to.addcmul_(one[..., row, None], other[:, :, row, None])
