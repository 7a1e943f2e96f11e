"""What a chunk's tokens have to say to each other, and to the states before and behind the chunk.

Between token ``s`` and a later ``t`` lies the decay ``sum of decay_j over s < j <= t``. It is always summed over that
very segment, or multiplied over it, as gates. A difference of two cumulative sums would be undefined after a decay of
minus infinity, and the quotient of two cumulative products would overflow long before.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


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
    between, since, until, total = _segments(decay)
    keys = Reading(_meet(k, k, k.dtype) * between.exp(), since.exp()[..., None] * k) if erasing else None
    if before:
        between, since = F.pad(between, (0, 0, 1, -1), value=-torch.inf), F.pad(since, (1, -1))
    queries = Reading(_meet(q, k, product) * between.exp(), since.exp()[..., None] * q)
    return Weighed(queries, keys, until.exp()[..., None] * k, total.exp()[..., None])


def _meet(q: Tensor, k: Tensor, product: torch.dtype) -> Tensor:
    return (q.to(product) @ k.to(product).mT).to(q.dtype)


def _dots(one: Tensor, other: Tensor) -> Tensor:
    """Take all inner products; matrix products of one or two rows would cost more than what they compute."""
    return one @ other.mT if other.shape[1] > 2 else (one[:, :, None] * other[:, None]).sum(-1)


def _segments(decay: Float[Tensor, "R C"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sum the decays of every segment of a chunk, in spans that double from single tokens to the chunk.

    Returns:
        The sum of tokens ``s + 1`` to ``t`` at ``[t, s]``, minus infinity where ``s > t``, ``(R, C, C)``; the sums from
        the first token up to and with each one, and of those behind each one, ``(R, C)``; that of all, ``(R, 1)``.
    """
    rows = len(decay)
    since, until, total = decay, torch.zeros_like(decay), decay
    between = until[..., None, None]
    while total.shape[1] > 1:
        (first, second), (early, late) = (
            x.view(rows, -1, 2, x.shape[1] // total.shape[1]).unbind(2) for x in (since, until)
        )
        gone, left = total.view(rows, -1, 2, 1).unbind(2)
        old, new = between.unflatten(1, (-1, 2)).unbind(2)
        across = second[..., None] + early[..., None, :]
        between = torch.cat(
            [F.pad(old, (0, old.shape[-1]), value=-torch.inf), torch.cat([across, new], -1)], 2
        )
        since = torch.cat([first, gone + second], 2).flatten(1)
        until = torch.cat([early + left, late], 2).flatten(1)
        total = (gone + left).flatten(1)
    return between.flatten(1, 2), since, until, total


def _by_halves(q: Tensor, k: Tensor, gate: Tensor, before: bool, erasing: bool) -> Weighed:
    """Weigh channel by channel: what the second half of a span reads of the first passes through its middle.

    Readers have the gates since their span began and keys those until theirs ends, so the readers of a second half and
    the keys of the first meet in a matrix product; spans double from single tokens to the chunk, as in the up-sweep of
    a scan. Queries and, if they read, keys are readers side by side.
    """
    since, zero = q if before else gate * q, torch.zeros_like(k[..., 0])
    itself = zero if before else (q * k).sum(-1)
    readers = torch.stack([since, gate * k], 2) if erasing else since[:, :, None]
    scores = torch.stack([itself, zero], 2) if erasing else itself[:, :, None]
    (rows, tokens, count, width), keys, total = readers.shape, k, gate
    while total.shape[1] > 1:
        size = tokens // total.shape[1]
        old, new = scores.reshape(-1, 2, count * size, size).unbind(1)
        first, second = readers.reshape(rows, -1, 2, count * size, width).unbind(2)
        early, late = keys.reshape(rows, -1, 2, size, width).unbind(2)
        gone, left = total.reshape(rows, -1, 2, width).unbind(2)
        across = torch.cat([_dots(second.flatten(0, 1), early.flatten(0, 1)), new], -1)
        scores = torch.cat([F.pad(old, (0, size)), across], 1)
        readers = torch.stack([first, second * gone[:, :, None]], 2)
        keys = torch.stack([early * left[:, :, None], late], 2)
        total = gone * left
    scores, readers = (x.view(rows, tokens, count, -1).unbind(2) for x in (scores, readers))
    read = [Reading(*one) for one in zip(scores, readers, strict=True)]
    return Weighed(read[0], read[1] if erasing else None, keys.view_as(k), total.mT)
