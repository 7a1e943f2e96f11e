"""What a chunk's tokens have to say to each other, and to the states before and behind the chunk.

Between token ``s`` and a later ``t`` lies the decay ``sum of decay_j over s < j <= t``. It is always summed over that
very segment. A difference of two cumulative sums would be undefined after a decay of minus infinity, and the quotient
of two cumulative products would overflow long before.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Weighed(NamedTuple):
    """A chunk's queries and keys with the decays between them.

    Attributes:
        scores: What token ``t`` reads of token ``s``, zero above the diagonal, ``(R, H, C, C)``.
        reads: Queries with the decay since the chunk began, ``(R, H, C, K)``.
        writes: Keys with the decay until the chunk ends, ``(R, H, C, K)``.
        kept: The decay of the whole chunk as a factor: ``(R, H)``, ``(R, H, K)``, or ``()`` without decay.
    """

    scores: Tensor
    reads: Tensor
    writes: Tensor
    kept: Tensor | tuple[()]


def weigh(
    q: Float[Tensor, "R H C K"],
    k: Float[Tensor, "R H C K"],
    decay: Float[Tensor, "R H C *K"] | None,
    product: torch.dtype,
    *,
    before: bool = False,
) -> Weighed:
    """Weigh queries and keys of chunks, of a power of two tokens, with the decays between them.

    Args:
        q: Queries.
        k: Keys.
        decay: In log space; for each head, for each channel of its keys, or none.
        product: The dtype in which queries meet keys.
        before: Whether token ``t`` reads the state before it: neither itself nor its own decay.
    """
    if decay is None:
        return Weighed(_meet(q, k, product).tril(-before), q, k, ())
    if decay.dim() == 4:
        return _by_halves(q, k, decay, product, before)
    until = decay.cumsum(-1)
    since = _less_one(until) if before else until
    between = _between(decay)
    if before:
        between = torch.cat([torch.full_like(between[..., :1, :], -torch.inf), between[..., :-1, :]], -2)
    reads, writes = since.exp()[..., None] * q, _behind(decay).exp()[..., None] * k
    return Weighed(_meet(q, k, product) * between.exp(), reads, writes, until[..., -1].exp())


def _meet(q: Tensor, k: Tensor, product: torch.dtype) -> Tensor:
    return (q.to(product) @ k.to(product).mT).to(q.dtype)


def _less_one(until: Tensor) -> Tensor:
    """Shift sums up to each token to sums up to the one before it."""
    return torch.cat([torch.zeros_like(until[..., :1]), until[..., :-1]], -1)


def _behind(decay: Tensor) -> Tensor:
    """Sum what comes behind each token of the chunk."""
    return _less_one(decay.flip(-1).cumsum(-1)).flip(-1)


def _between(decay: Float[Tensor, "*R C"]) -> Float[Tensor, "*R C C"]:
    """Sum the decays of tokens ``s + 1`` to ``t`` at ``[t, s]``; minus infinity where ``s > t``."""
    size = decay.shape[-1]
    lower = torch.ones(size, size, dtype=torch.bool, device=decay.device).tril(-1)
    rows = decay[..., None].expand(*decay.shape, size).masked_fill(~lower, 0)
    return rows.cumsum(-2).masked_fill(lower.mT, -torch.inf)


def _by_halves(q: Tensor, k: Tensor, decay: Tensor, product: torch.dtype, before: bool) -> Weighed:
    """Weigh channel by channel: what the second half of a span reads of the first passes through its middle.

    A query has the decay since the middle and a key the decay until it, so the two meet in a matrix product; spans
    double from single tokens to the chunk, as in the up-sweep of a scan.
    """
    total = decay[..., None, :]
    since = torch.zeros_like(total) if before else total
    until = torch.zeros_like(total)
    scores = q.new_zeros(*q.shape[:3], 1, 1) if before else (q * k).sum(-1)[..., None, None]
    while total.shape[2] > 1:
        (first, second), (_, query) = _halves(total), _halves(since)
        (key, _), (old, new) = _halves(until), _halves(scores)
        size = old.shape[-1]
        read = query.exp() * q.unflatten(2, (-1, 2, size))[..., 1, :, :]
        said = key.exp() * k.unflatten(2, (-1, 2, size))[..., 0, :, :]
        across = _meet(read, said, product)
        scores = torch.cat([torch.cat([old, torch.zeros_like(old)], -1), torch.cat([across, new], -1)], -2)
        since = torch.cat([_halves(since)[0], first + query], -2)
        until = torch.cat([key + second, _halves(until)[1]], -2)
        total = first + second
    since, until, total = (x.squeeze(2) for x in (since, until, total))
    return Weighed(scores.squeeze(2), since.exp() * q, until.exp() * k, total.squeeze(-2).exp())


def _halves(spans: Tensor) -> tuple[Tensor, Tensor]:
    """Part the spans of axis 2 into those that are first halves of longer ones, and second halves."""
    return spans[:, :, ::2], spans[:, :, 1::2]
