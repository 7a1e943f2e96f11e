"""Steps in place of a decoder that sees a window: a ring of slots."""

from typing import Any

import torch
from torch import Tensor

from scannable.models._stepper_base import InPlace
from scannable.models._stepper_graph import Programs
from scannable.models._stepper_slots import SlotStack
from scannable.models._stream import Stream


class WindowStepper(InPlace):
    """Each token takes the place of the one that leaves the window."""

    def __init__(self, model: Any, stream: Stream, programs: Programs, *, compile: bool) -> None:
        super().__init__(model, stream, programs)
        self.slots = SlotStack(model.stack, stream.batch, model.stack.window)
        self.run = programs.make(
            self.read, prepare=lambda: self.slots.load((0, ())), compile=compile and self.slots.work.compiled
        )
        self.load(stream)

    def step(self, token: Tensor) -> Tensor:
        self.model.stack.check(self.count + 1)
        return super().step(token)

    def read(self) -> Tensor:
        return self.slots.step(self.model.embed(self.token[:, None])[:, 0], self.model.head._weight())

    def fill(self, stream: Stream) -> None:
        self.slots.load(stream.cache)

    @torch.no_grad()
    def stream(self) -> Stream:
        kept = min(self.count, self.model.stack.window - 1)
        cache = self.slots.cache(self.count, kept) if self.count else (0, ())
        return Stream(owner=self.model._mark, count=self.count, batch=self.batch, cache=cache)

    def tensors(self) -> list[Tensor]:
        return self.slots.kept
