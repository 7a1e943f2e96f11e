"""Finitely many states: each merged state is snapped to the nearest vector of a codebook."""

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scannable.modules._codes import Codes
from scannable.scans._option import check_option

Gradient = Literal["soft", "stop"]


class Codebook(nn.Module):
    """An aggregator whose merged states are codes, slot by slot.

    If leaves are codes too, as with a codebook tied to the token embedding, the merges are a finite table:
    a model whose table is right is right at every length, where states that are free to drift lose
    their way level after level.

    Args:
        aggregator: Any aggregator of states ``(R, ..., D)``.
        codes: The codebook, of its own or, to tie it, that of a token encoder.
        gradient: The backward pass; the forward value is always the code itself, to the bit. ``"soft"``: a code
            counts as the mean of all codes, weighted by a softmax of minus their squared distances over twice the
            ``temperature``. ``"stop"``: as a constant. That suffices, and is faster, if the aggregator shares
            its blocks and codes with the inference module, whose loss then trains the very same table.
        temperature: Of the soft gradient.
    """

    def __init__(
        self,
        aggregator: Any,
        codes: Codes,
        *,
        gradient: Gradient = "soft",
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        check_option("gradient", gradient, get_args(Gradient))
        if not temperature > 0:
            raise ValueError(f"A codebook's temperature must be positive, got {temperature}; raise it.")
        self.aggregator, self.codes = aggregator, codes
        self.gradient, self.temperature = gradient, temperature

    def combine(
        self, left: Float[Tensor, "R *n D"], right: Float[Tensor, "R *n D"]
    ) -> Float[Tensor, "R *n D"]:
        return self.snap(self.aggregator.combine(left, right))

    def identity(self, like: Float[Tensor, "B *n D"]) -> Float[Tensor, "B *n D"]:
        return self.aggregator.identity(like)

    def snap(self, states: Float[Tensor, "*R D"]) -> Float[Tensor, "*R D"]:
        """Replace each vector by its nearest code; the lowest index wins a tie."""
        codes = self.codes.vectors().to(states.dtype)
        nearness = _nearness(states, codes)
        # Adding nothing but a NaN keeps a NaN from being taken for some code.
        snapped = codes[nearness.argmax(-1)] + 0 * states.detach()
        if self.gradient == "stop" or not torch.is_grad_enabled():
            return snapped.detach()
        soft = (torch.softmax(nearness / self.temperature, -1) @ codes.to(nearness.dtype)).to(states.dtype)
        return snapped.detach() + (soft - soft.detach())

    def nearest(self, states: Float[Tensor, "*R D"]) -> Int[Tensor, "*R"]:
        """Return the index of the code that ``snap`` puts in the place of each vector."""
        return _nearness(states, self.codes.vectors().to(states.dtype)).argmax(-1)


def _nearness(states: Float[Tensor, "*R D"], codes: Float[Tensor, "codes D"]) -> Float[Tensor, "*R codes"]:
    """Tell how near each vector is to each code, the nearest one most."""
    wide = torch.promote_types(states.dtype, torch.float32)
    codes = codes.to(wide)
    # In bfloat16 the two forms could differ in which code is nearest.
    with torch.autocast(states.device.type, enabled=False):
        return states.to(wide) @ codes.T - codes.square().sum(-1) / 2
