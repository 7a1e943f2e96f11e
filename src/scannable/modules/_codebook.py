"""Finitely many states: each merged state is snapped to the nearest vector of a codebook."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Codebook(nn.Module):
    """An aggregator whose merged states are codes, slot by slot.

    If leaves are codes too, as with a codebook tied to the token embedding, the merges are a finite table:
    a model whose table is right is right at every length, where states that are free to drift lose
    their way level after level.

    Args:
        aggregator: Any aggregator of states ``(R, ..., D)``.
        codes: The codebook, ``(number of codes, D)``: a parameter of its own or, to tie it, the weight of
            a token embedding.
        temperature: In the backward pass a code counts as the softmax-weighted mean of all codes, weighted by
            their squared distances over twice this; the forward value is the code itself, to the bit.
    """

    def __init__(self, aggregator: Any, codes: Float[Tensor, "codes D"], *, temperature: float = 1.0) -> None:
        super().__init__()
        self.aggregator, self.codes, self.temperature = aggregator, codes, temperature

    def combine(
        self, left: Float[Tensor, "R *n D"], right: Float[Tensor, "R *n D"]
    ) -> Float[Tensor, "R *n D"]:
        return self.snap(self.aggregator.combine(left, right))

    def identity(self, like: Float[Tensor, "B *n D"]) -> Float[Tensor, "B *n D"]:
        return self.aggregator.identity(like)

    def snap(self, states: Float[Tensor, "*R D"]) -> Float[Tensor, "*R D"]:
        """Replace each vector by its nearest code; the lowest index wins a tie."""
        codes = self.codes.to(states.dtype)
        nearness = states @ codes.T - codes.square().sum(-1) / 2
        # Adding nothing but a NaN keeps a NaN from being taken for some code.
        snapped = codes[nearness.argmax(-1)] + 0 * states.detach()
        if not torch.is_grad_enabled():
            return snapped
        soft = torch.softmax(nearness / self.temperature, -1) @ codes
        return snapped.detach() + (soft - soft.detach())
