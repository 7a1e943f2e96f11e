"""Interleave and part sequences along axis 1: two linear maps, each the other's backward pass."""

from typing import Any

import torch
from torch import Tensor


class _Weave(torch.autograd.Function):
    """Write pieces to the even and the odd places of one new tensor: a single copy, no zero filling."""

    generate_vmap_rule = True

    @staticmethod
    def forward(evens: int, *pieces: Tensor) -> Tensor:
        """Take the first ``evens`` pieces to places 0, 2, 4, ... and the others to 1, 3, 5, ..."""
        length = sum(piece.shape[1] for piece in pieces)
        first = pieces[0]
        out = first.new_empty(first.shape[0], length, *first.shape[2:])
        for start, group in ((0, pieces[:evens]), (1, pieces[evens:])):
            for piece in group:
                stop = start + 2 * piece.shape[1]
                out[:, start:stop:2] = piece
                start = stop
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.evens = inputs[0]
        ctx.lengths = [piece.shape[1] for piece in inputs[1:]]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        halves = gradient[:, 0::2], gradient[:, 1::2]
        evens, odds = ctx.lengths[: ctx.evens], ctx.lengths[ctx.evens :]
        return None, *halves[0].split(evens, 1), *halves[1].split(odds, 1)


class _Part(torch.autograd.Function):
    """Read the even and the odd places as views, cut into pieces."""

    generate_vmap_rule = True

    @staticmethod
    def forward(sequence: Tensor) -> tuple[Tensor, Tensor]:
        return sequence[:, 0::2], sequence[:, 1::2]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        evens, odds = gradients
        return weave([evens], [odds])


def weave(evens: list[Tensor], odds: list[Tensor]) -> Tensor:
    """Interleave ``(B, n, ...)`` pieces: ``evens`` one after another at 0, 2, ..., ``odds`` at 1, 3, ..."""
    return _Weave.apply(len(evens), *evens, *odds)


def part(sequence: Tensor) -> tuple[Tensor, Tensor]:
    """Undo ``weave``: the elements of ``(B, n, ...)`` at even and at odd places."""
    return _Part.apply(sequence)
