"""The steps since the last report, on which the next one reports."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Stretch:
    """What some steps learned, and how long they took; it begins when it is made.

    Tensors stay on the device: reading them at every step would make the GPU wait.
    """

    def __init__(self, device: torch.device) -> None:
        self.loss: Tensor = torch.zeros((), device=device)
        """The sum of their losses."""
        self.norm: Tensor = torch.zeros((), device=device)
        """The norm of the last gradient."""
        self.rate = 0.0
        """The last learning rate."""
        self.steps = self.tokens = 0
        self._since = time.monotonic()

    @property
    def speed(self) -> float:
        """Tokens a second, once the tensors were read."""
        return self.tokens / max(time.monotonic() - self._since, 1e-9)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the time inside not count as that of the steps."""
        self.loss.item()  # the steps so far are waited for, since their time does count
        begun = time.monotonic()
        yield
        self._since += time.monotonic() - begun
