"""What a run is taken through: where its batches come from, what its loss is, and how it is told how far it is."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from scannable.tasks import Batch
from scannable.training._log import Event


@runtime_checkable  # so that signatures can be checked in tests
class Course(Protocol):
    """What a run learns; it knows where it stands, and that is written into checkpoints."""

    @property
    def about(self) -> str:
        """A line for a person, on what is read and what is kept for checks; empty where all is drawn."""
        ...

    @property
    def length(self) -> int:
        """The longest sequence that is drawn now."""
        ...

    @property
    def solved(self) -> bool:
        """Whether the last check found nothing left to learn."""
        ...

    @property
    def over(self) -> bool:
        """Whether the run is to end here, before its last step."""
        ...

    def batch(self, step: int) -> Batch:
        """Draw this process's rows of the batch of a step, on the device of the run; steps come in order."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of a batch."""
        ...

    def due(self, step: int) -> bool:
        """Tell whether the model is to be scored after so many steps."""
        ...

    def check(self, model: nn.Module, step: int) -> Event:
        """Score the model after so many steps."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return what the next batch depends on."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return the same, as far as JSON knows it."""
        ...

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: If it is the state of another course; the error says which and what to do.
        """
        ...
