"""A running maximum that decays, ``m_t = max(fall_t + m_{t-1}, rise_t)``: affine in the max-plus algebra."""

import torch
from torch import Tensor

from scannable.scans import scan


class _MaxPlus:
    """Pairs ``(fall, rise)``: adding is taking the maximum, multiplying is adding."""

    @staticmethod
    def combine(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return left[0] + right[0], torch.maximum(left[1] + right[0], right[1])

    @staticmethod
    def identity(like: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(like[0]), torch.full_like(like[1], -torch.inf)


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
    batch, length = fall.shape[:2]
    if not length:
        return rise, rise, first.detach()
    counts = torch.tensor([length] * batch if lengths is None else lengths, device=fall.device)
    offsets = None if lengths is None else [0, *counts.cumsum(0).tolist()]
    fallen, risen = scan(_MaxPlus(), (fall, rise.clamp(min=0)), inclusive=True, offsets=offsets)
    ends = counts.cumsum(0)
    start = first.repeat_interleave(counts, 0).view(rise.shape)
    peak = torch.maximum(start + fallen, risen)
    before = torch.cat([peak.flatten(0, 1)[:1], peak.flatten(0, 1)[:-1]])
    some = counts > 0
    last = first.clone()
    last[some] = peak.flatten(0, 1)[(ends - 1)[some]]
    before[(ends - counts)[some]] = first[some]
    return peak, before.view(rise.shape), last
