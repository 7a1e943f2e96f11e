"""Steps in place of a model of affine layers: the state after a token overwrites the state before it."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from scannable.models._stepper_base import InPlace
from scannable.models._stepper_graph import Programs
from scannable.models._stream import Stream


class StateStepper(InPlace):
    """The model's own layers, with their states copied back to where they came from."""

    def __init__(self, model: Any, stream: Stream, programs: Programs, *, compile: bool) -> None:
        super().__init__(model, stream, programs)
        self.states = _copy(self._states(stream))
        self.run = programs.make(self.read, compile=compile)
        self.load(stream)

    def read(self) -> Tensor:
        x, after = self.model._extend(self.states, self.model.embed(self.token[:, None]))
        for old, new in zip(self.tensors(), _tensors(after), strict=True):
            old.copy_(new)
        return self.model.head(x[:, 0])

    def fill(self, stream: Stream) -> None:
        for mine, theirs in zip(self.tensors(), _tensors(self._states(stream)), strict=True):
            mine.copy_(theirs)

    def _states(self, stream: Stream) -> Any:
        """Return a stream's states: those behind no token where nothing was read."""
        nothing = self.token[:, None][:, :0]
        return (
            self.model._extend(None, self.model.embed(nothing))[1] if stream.cache is None else stream.cache
        )

    @torch.no_grad()
    def stream(self) -> Stream:
        return Stream(
            owner=self.model._mark,
            count=self.count,
            batch=self.batch,
            cache=_copy(self.states) if self.count else None,
        )

    def tensors(self) -> list[Tensor]:
        return _tensors(self.states)


def _tensors(states: Any) -> list[Tensor]:
    return [x for x in _pytree.tree_leaves(states) if isinstance(x, Tensor)]


def _copy(states: Any) -> Any:
    return _pytree.tree_map(lambda x: x.detach().clone() if isinstance(x, Tensor) else x, states)
