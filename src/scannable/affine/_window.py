"""The last few tokens: what short convolutions and token shifts read, across calls and packed neighbours."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scannable.affine._derivatives import differentiate
from scannable.affine._stored import stored


class Window:
    """Tokens with those before them in view.

    Args:
        x: ``(B, T, D)``.
        before: What was kept of earlier calls, ``(n, reach, D)``, one for each sequence; zeros if None.
        lengths: Of packed sequences, or None.
        reach: How far back tokens see.
        dtype: Of what is kept.

    Attributes:
        kept: The last ``reach`` tokens of each sequence, earlier calls included, ``(n, reach, D)``.
    """

    def __init__(
        self, x: Tensor, before: Tensor | None, lengths: list[int] | None, reach: int, dtype: torch.dtype
    ) -> None:
        self.reach, self.places = reach, None
        if lengths is None:
            # Padding needs no copy of its own where it is compiled.
            self.all = F.pad(x, (0, 0, reach, 0)) if before is None else torch.cat([before.to(x.dtype), x], 1)
            self.kept = self.all[:, self.all.shape[1] - reach :].to(dtype, copy=True)
            return
        before = x.new_zeros(len(lengths), reach, x.shape[2]) if before is None else before.to(x.dtype)
        pieces = zip(before.split(1), x.split(lengths, 1), strict=True)
        self.all = torch.cat([part for piece in pieces for part in piece], 1) if lengths else x
        counts = torch.tensor(lengths, dtype=torch.long)
        ends = counts.cumsum(0) + reach * torch.arange(1, len(lengths) + 1)
        self.places = torch.arange(x.shape[1]) + reach * (
            1 + torch.arange(len(lengths)).repeat_interleave(counts)
        )
        last = ends[:, None] + torch.arange(-reach, 0)
        self.kept = self.all[0].index_select(0, last.flatten().to(x.device)).view(before.shape).to(dtype)

    def back(self, lag: int) -> Tensor:
        """Return the token ``lag`` places before each, ``(B, T, D)``."""
        if self.places is None:
            return self.all[:, self.reach - lag : self.all.shape[1] - lag]
        return self.all.index_select(1, (self.places - lag).to(self.all.device))


def convolve(window: Window, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve each channel causally with its own taps ``(D, reach + 1)``, the last of which reads the token itself.

    Taps are taken in the dtype of the tokens, as autocast takes those of torch's own convolutions.
    """
    dtype = window.all.dtype
    mixed = _Taps.apply(window.all, weight.to(dtype), None if bias is None else bias.to(dtype))
    if window.places is None:
        return mixed
    return mixed.index_select(1, (window.places - window.reach).to(mixed.device))


class _Taps(torch.autograd.Function):
    """Sum ``weight[:, j] * x[:, t + j]`` over the taps, for all ``t`` at which there are so many tokens.

    Its adjoint convolves with the taps in the other order.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        return _taps(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            run = lambda *inputs: (_taps(*inputs),)  # noqa: E731
            return tuple(differentiate(run, (x, weight, bias), cotangents))
        # All taps read it, in both directions.
        given = stored(cotangents[0])
        reach = weight.shape[1] - 1
        # Else it would be kept wide, as it is computed.
        of_x = stored(_taps(F.pad(given, (0, 0, reach, reach)), weight.flip(1), None))
        seen = (x[:, tap : tap + given.shape[1]] for tap in range(reach + 1))
        of_weight = torch.stack([(given * one).sum((0, 1)) for one in seen], 1)
        return of_x, of_weight, None if bias is None else given.sum((0, 1))


def _taps(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    count = x.shape[1] - weight.shape[1] + 1
    first, *others = weight.unbind(1)
    mixed = first * x[:, :count] if bias is None else torch.addcmul(bias, first, x[:, :count])
    for tap, share in enumerate(others, 1):
        mixed = torch.addcmul(mixed, share, x[:, tap : tap + count])
    return mixed
