"""A running maximum that decays, ``m_t = max(fall_t + m_{t-1}, rise_t)``: affine in the max-plus algebra."""

import torch
from torch import Tensor

from scannable.affine._actions import Action
from scannable.affine._lifted import earlier, states_of


class _MaxPlus(Action):
    """Pairs ``(fall, rise)``: adding is taking the maximum, multiplying is adding."""

    def compose(self, later: Tensor, earlier: Tensor) -> Tensor:
        return later + earlier

    def act(self, element: Tensor, state: Tensor) -> Tensor:
        return element + state

    def one(self, like: Tensor) -> Tensor:
        return torch.zeros_like(like)

    def apply(self, pair: tuple[Tensor, Tensor], state: Tensor) -> Tensor:
        return torch.maximum(pair[1], self.act(pair[0], state))

    def identity(self, like: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return self.one(like[0]), torch.full_like(like[1], -torch.inf)


@torch.no_grad()
def running_peak(
    fall: Tensor, rise: Tensor, first: Tensor, lengths: list[int] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the maximum behind each token, that before it, both ``(B, T, H)``, and the last of each sequence.

    Args:
        fall: At most zero, ``(B, T, H)``.
        rise: ``(B, T, H)``; taken as zero where it is less, so that the maximum is never below.
        first: The maximum before the first token of each sequence, ``(n, H)``, at least zero.
        lengths: Of packed sequences, or None.
    """
    if not fall.shape[1]:
        return rise, rise, first.detach()
    peak, last = states_of(_MaxPlus(), (fall, rise.clamp(min=0)), first, lengths=lengths)
    return peak, earlier(peak, first, lengths), last
