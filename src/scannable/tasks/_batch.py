"""The only contract between tasks and training: a batch, and something that draws batches."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int64
from torch import Tensor


class Batch(NamedTuple):
    """Sequences and what is asked at each of their places.

    Attributes:
        tokens: What the model reads.
        targets: At place ``t`` the answer after the tokens up to and including ``t``.
        mask: The places that are asked; the targets elsewhere mean nothing.
    """

    tokens: Int64[Tensor, "B T"]
    targets: Int64[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]

    def to(self, device: torch.device | str) -> "Batch":
        """Move the three tensors to a device."""
        return Batch(*(x.to(device, non_blocking=True) for x in self))

    def rows(self, start: int, stop: int) -> "Batch":
        """Take the sequences ``start`` to ``stop - 1``."""
        return Batch(*(x[start:stop] for x in self))


@runtime_checkable
class Task(Protocol):
    """A source of batches."""

    @property
    def vocabulary(self) -> int:
        """How many tokens there are; targets are drawn from the same ones."""
        ...

    def batch(self, size: int, length: int, generator: torch.Generator) -> Batch:
        """Draw ``size`` sequences of ``length`` tokens, on the generator's device."""
        ...
