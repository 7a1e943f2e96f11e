"""Decays between the tokens of a chunk, where a head has one each.

Between token ``s`` and a later ``t`` lies the sum of the decays over ``s < j <= t``. It is always summed over that very
segment: a difference of two cumulative sums would be undefined after a decay of minus infinity. A chunk is cut into
blocks of about the root of its size, so a segment is the end of a block, whole ones, and the beginning of another.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from scannable.affine._derivatives import differentiate
from scannable.affine._stored import stored


class Segments(NamedTuple):
    """Sums over all segments of a chunk of ``n`` blocks of ``c`` tokens, in three parts, in log space.

    Attributes:
        across: From the end of an earlier block up to and with a token, ``(R, n, c, n)``; minus infinity for others.
        until: Behind a token up to the end of its block, ``(R, n, c)``.
        inside: Behind a token up to and with one of its own block, ``(R, n, c, c)``; minus infinity for earlier ones.
    """

    across: Tensor
    until: Tensor
    inside: Tensor


def segments(
    decay: Float[Tensor, "R C"],
) -> tuple[Segments, Float[Tensor, "R C"], Float[Tensor, "R C"], Float[Tensor, "R 1"]]:
    """Sum the decays of every segment of a chunk, of a power of two tokens.

    Returns:
        Segments between tokens; the sums from the first token up to and with each, those behind each, and that of all.
    """
    size = 1 << decay.shape[1].bit_length() // 2
    blocks = decay.unflatten(1, (-1, size))
    inside, since = _sums(blocks), blocks.cumsum(2)
    until, whole = inside[:, :, -1], since[:, :, -1]
    behind = _sums(whole)
    # Row t is that of the block before: what lies between two blocks, none of them counted in.
    between = F.pad(behind, (0, 0, 1, -1), value=-torch.inf)
    before = F.pad(whole.cumsum(1), (1, -1))
    parts = Segments(since[..., None] + between[:, :, None], until, inside)
    since, until = since + before[..., None], until + behind[:, -1, :, None]
    return parts, since.flatten(1), until.flatten(1), since[:, -1, -1:]


def factors(parts: Segments) -> Float[Tensor, "R C C"]:
    """Return what token ``t`` sees of token ``s`` through the decays between them, zero above the diagonal."""
    across, until, inside = (stored(x.exp()) for x in parts)
    seen = torch.where(
        _same(until)[:, None, :, None], inside[:, :, :, None], across[..., None] * until[:, None, None]
    )
    return seen.flatten(3, 4).flatten(1, 2)


class Weigh(torch.autograd.Function):
    """Weigh scores ``(R, C, C)`` that heads share with the decays of each head: ``(R, J, C, C)``.

    For pairs of tokens it keeps the scores alone, no numbers of a head. Arguments of ``apply``: scores, whether token
    ``t`` reads the state before it, and the three parts of ``Segments``, the rows of heads after one another.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, before: bool, *parts: Tensor) -> Tensor:
        ctx.save_for_backward(scores, *parts)
        ctx.before = before
        return _weighed(scores[:, None], before, *parts)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        scores, *parts = ctx.saved_tensors
        before, (given,) = ctx.before, cotangents
        if torch.is_grad_enabled():
            run = lambda scores, *parts: (_weighed(scores[:, None], before, *parts),)  # noqa: E731
            of_scores, *of_parts = differentiate(run, (scores, *parts), cotangents)
            return of_scores, None, *of_parts
        of_seen = stored(_weighed(given, before, *parts))
        of_sums = (of_seen * scores[:, None]).flatten(0, 1)
        of_sums = F.pad(of_sums, (0, 0, -1, 1)) if before else of_sums
        blocks, wide = parts[1].shape[1:], parts[1].dtype
        of_sums = of_sums.unflatten(2, blocks).unflatten(1, blocks)
        same = _same(parts[1])
        of_across = of_sums.sum(4, dtype=wide).masked_fill(same[:, None], 0)
        of_until = of_sums.sum(2, dtype=wide).masked_fill(same[..., None], 0).sum(1)
        of_inside = of_sums.diagonal(0, 1, 3).movedim(3, 1).to(wide)
        return of_seen.sum(1), None, of_across, of_until, of_inside


def _weighed(x: Float[Tensor, "rows heads C C"], before: bool, *parts: Tensor) -> Tensor:
    """Weigh ``(R, J, C, C)``, or one for all heads, with the decays of each head, in the dtype of what is weighed."""
    seen = factors(Segments(*parts)).unflatten(0, (len(x), -1))
    return ((F.pad(seen, (0, 0, 1, -1)) if before else seen) * x).to(x.dtype)


def _same(until: Tensor) -> Tensor:
    """Tell which blocks are the same, ``(n, n)``."""
    return torch.eye(until.shape[1], dtype=torch.bool, device=until.device)


def _sums(decay: Float[Tensor, "*R C"]) -> Float[Tensor, "*R C C"]:
    """Sum tokens ``s + 1`` to ``t`` at ``[t, s]``; minus infinity where ``s > t``."""
    size = decay.shape[-1]
    sums = decay[..., None].expand(*decay.shape, size).tril(-1).cumsum(-2)
    later = torch.ones(size, size, dtype=torch.bool, device=decay.device).triu(1)
    return sums.masked_fill(later, -torch.inf)
