"""The small memory task at which the family is shown, and what weights set by hand are made of."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scannable.affine import Layer

KEYS = torch.tensor([[1.0, 1, 0, 0], [1, -1, 0, 0], [0, 0, 1, 1]], dtype=torch.float64) / math.sqrt(2)
"""Three keys of four channels, at right angles; the first two share their channels."""
STORY = (("a", 1), ("b", 2), ("c", 3), ("d", 1), None, None)
"""What each token writes, a letter at a key; or nothing."""
KEEP, FADE = 0.2, 0.8
"""What a gate keeps with ``d``; what those gates keep that close while nothing is written."""

FAR = 40.0
"""Where a sigmoid is 1 and a softplus, mirrored, is 0."""
WRITTEN = KEYS[[write[1] - 1 for write in STORY if write]].T
"""The key of each letter, ``(K, letters)``: weights that make it from the letter."""
LETTERS = torch.eye(4, dtype=torch.float64)
"""The value of each letter: a column of the memory."""
NONE = torch.zeros(4, 4, dtype=torch.float64)
"""Weights of what is not looked at, such as queries."""
GATE = torch.tensor([1.0, 1, 1, KEEP], dtype=torch.float64)
"""What a gate keeps with each letter, if it may let anything pass."""
TIED = torch.tensor([0.9, 0.9, 0.9, KEEP], dtype=torch.float64)
"""The same for a gate that must close a little to write."""
CHANNELS = torch.where(WRITTEN[:, [3]] != 0, GATE, 1.0)
"""The same for each channel, ``(K, letters)``: only those of key 1 forget."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A layer with its weights, and how it is asked.

    Attributes:
        layer: Its first head or its channels read letters ``(B, T, 4)``; a fifth feature is there while it idles.
        note: What its own gate is, and what it is set to; for people.
        queries: What multiplies the state to ask for each key, ``(3, K)``.
        floor: Where a normaliser is the state's last column: the least that an answer is divided by.
    """

    layer: Layer
    note: str
    queries: Tensor = KEYS
    floor: int | float | None = None


def fill(layer: Layer, name: str, value: Tensor | int | float | list[Tensor]) -> None:
    """Set weights of a layer by their name; those in a list stand below each other."""
    layer.state_dict()[name].copy_(torch.cat(value) if isinstance(value, list) else torch.as_tensor(value))


def before_softplus(y: Tensor) -> Tensor:
    """Return ``x`` with ``softplus(x) = y``."""
    return y.expm1().log()


def before_silu(y: Tensor) -> Tensor:
    """Return the larger ``x`` with ``silu(x) = y``, by bisection; ``y`` must be above the minimum, -0.278."""
    low, high = torch.full_like(y, -1.278), y.clamp(min=0) + 1
    for _ in range(60):
        middle = (low + high) / 2
        below = middle * middle.sigmoid() < y
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high
