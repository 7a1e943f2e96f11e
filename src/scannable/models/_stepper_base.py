"""What all steppers have in common: one token of each text goes in, logits come out, nothing else moves."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scannable.models._stepper_graph import Programs
from scannable.models._stream import Stream, check_kind


class Stepper:
    """Reads a text on in place, one token after another, as the model's ``step`` does by value."""

    @property
    def nbytes(self) -> int:
        """The bytes that it keeps of what was read."""
        raise NotImplementedError

    def step(self, token: Int[Tensor, " B"]) -> Float[Tensor, "B V"]:
        """Read one token of each text; return the logits of the next.

        Raises:
            TypeError: If the tokens have the wrong dtype.
            ValueError: If they have the wrong shape or device or, where that can be seen, are out of range, or if there
                are no more positions. Then nothing was read.
        """
        raise NotImplementedError

    def load(self, stream: Stream) -> None:
        """Read on from another stream of the same model and batch.

        Raises:
            ValueError: If it is not one.
        """
        raise NotImplementedError

    def stream(self) -> Stream:
        """Copy what was read into a stream, which can be kept, forked and saved."""
        raise NotImplementedError


def check_stream(stream: Stream, *, owner: object, batch: int | None = None) -> None:
    """Refuse a stream of another model or batch.

    Raises:
        TypeError: If it is no stream.
        ValueError: If it is one.
    """
    check_kind(stream)
    batch = stream.batch if batch is None else batch
    if stream.owner != owner or stream.batch != batch:
        raise ValueError(
            f"A stepper reads streams of its own model in batches of {batch}, got a batch of {stream.batch}"
            f"{'' if stream.owner == owner else ' of another model'}; make a stepper for it."
        )


class InPlace(Stepper):
    """A stepper whose token and state stay in one place in memory."""

    def __init__(self, model: Any, stream: Stream, programs: Programs) -> None:
        self.model, self.batch, self.programs = model, stream.batch, programs
        self.count = 0
        self.token = torch.zeros(stream.batch, dtype=torch.long, device=programs.device)
        self.run: Callable[[], Tensor] = self.read

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in self.tensors())

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def step(self, token: Int[Tensor, " B"]) -> Float[Tensor, "B V"]:
        self._check(token)
        self.token.copy_(token)
        logits = self.run()
        self.count += 1
        self.advance()
        # What a graph returns is overwritten by its next replay.
        return logits.clone(memory_format=torch.contiguous_format) if self.programs.graphs else logits

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def load(self, stream: Stream) -> None:
        check_stream(stream, owner=self.model._mark, batch=self.batch)
        self.fill(stream)
        self.count = stream.count

    def read(self) -> Tensor:
        """Read ``self.token``; this is the program of a step."""
        raise NotImplementedError

    def advance(self) -> None:
        """Do what is to be done behind a token."""

    def fill(self, stream: Stream) -> None:
        """Copy a stream into the state."""
        raise NotImplementedError

    def tensors(self) -> list[Tensor]:
        """Return the state."""
        raise NotImplementedError

    def _check(self, token: Tensor) -> None:
        if not isinstance(token, Tensor) or token.dtype != torch.long:
            got = token.dtype if isinstance(token, Tensor) else type(token).__name__
            raise TypeError(f"Tokens must be torch.int64, got {got}; convert them with .long().")
        if token.shape != self.token.shape or token.device != self.token.device:
            raise ValueError(
                f"A step reads one token of each text, shape {tuple(self.token.shape)} on {self.token.device}, "
                f"got {tuple(token.shape)} on {token.device}; give as many as the stream has texts."
            )
