"""The last few tokens: what short convolutions and token shifts read, across calls and packed neighbours."""

import torch
from torch import Tensor


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
        sequences = x.shape[0] if lengths is None else len(lengths)
        if before is None:
            before = x.new_zeros(sequences, reach, x.shape[2])
        before, self.reach = before.to(x.dtype), reach
        if lengths is None:
            self.all, self.places = torch.cat([before, x], 1), None
            self.kept = self.all[:, self.all.shape[1] - reach :].to(dtype, copy=True)
            return
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
    """Convolve each channel causally with its own taps ``(D, reach + 1)``, the last of which reads the token itself."""
    mixed = weight[:, window.reach] * window.back(0)
    for lag in range(1, window.reach + 1):
        mixed = mixed + weight[:, window.reach - lag] * window.back(lag)
    return mixed if bias is None else mixed + bias
