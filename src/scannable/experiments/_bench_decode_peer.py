"""The peer at its best: a full-attention decoder at one length of text, with the attention that is fastest there."""

import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from scannable.models._stepper_base import InPlace
from scannable.models._stepper_graph import Programs
from scannable.models._stepper_recipe import ATTENTION, Recipe
from scannable.models._stepper_slots import DEFAULT, SlotStack
from scannable.models._stream import Stream
from scannable.modules import Transformer

REPEATS = 20
"""Runs of which the median counts."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which attention was fastest."""

    name: str
    """What it is called."""
    seconds: dict[str, float]
    """What each that works here took for all layers."""

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return a recipe with this attention; only with a kernel of ours may a step stay as it is."""
        kind = _KINDS[self.name].recipe
        compiled = recipe.compiled or kind.attention != "kernel"
        return replace(recipe, attention=kind.attention, splits=kind.splits, compiled=compiled)

    def chosen(self) -> AbstractContextManager[Any]:
        """Let torch use no other kernel than the chosen one."""
        return _KINDS[self.name].chosen()


@dataclass(frozen=True)
class _Kind:
    recipe: Recipe
    backend: SDPBackend | None = None
    compile: bool = False

    def chosen(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.backend is None else sdpa_kernel(self.backend)

    def reader(self, slots: SlotStack) -> Callable[[], object]:
        """Return what reads all slots of all layers; a kernel of ours also writes one."""
        q = slots.kept[0][0, :, :, :1].clone()
        if self.recipe.attention == "kernel":
            attend, qkv = self.recipe.attend(), q.flatten(1).repeat(1, 3)
            return lambda: [attend(qkv, kept, None, slots.position, None) for kept in slots.kept]
        read = ATTENTION[self.recipe.attention]
        read = torch.compile(read, dynamic=False) if self.compile else read
        return lambda: [read(q, kept[0], kept[1], None) for kept in slots.kept]


_FUSED = Recipe(attention="fused")
_KINDS = {
    "flash": _Kind(_FUSED, SDPBackend.FLASH_ATTENTION),
    "cudnn": _Kind(_FUSED, SDPBackend.CUDNN_ATTENTION),
    "efficient": _Kind(_FUSED, SDPBackend.EFFICIENT_ATTENTION),
    "matmul": _Kind(Recipe(attention="matmul")),
    "products": _Kind(Recipe(attention="products"), compile=True),
    "blocks": _Kind(Recipe(attention="blocks"), compile=True),
    "flex": _Kind(Recipe(attention="flex"), compile=True),
    **{f"kernel, {n} parts": _Kind(Recipe(attention="kernel", splits=n)) for n in (1, 4, 16, 32, 64)},
}


def fastest(stack: Transformer, batch: int, context: int, device: torch.device, *, compile: bool) -> Choice:
    """Time every attention of one slot over so many, in all layers, and choose."""
    slots = SlotStack(stack, batch, context, masked=False, ring=False)
    seconds = {}
    for name, kind in _KINDS.items():
        if compile or not kind.compile:
            seconds |= _tried(name, kind, slots, device)
    return Choice(name=min(seconds, key=lambda name: seconds[name]), seconds=seconds)


def _tried(name: str, kind: _Kind, slots: SlotStack, device: torch.device) -> dict[str, float]:
    """Return what one attention takes, or nothing if it does not work here."""
    with warnings.catch_warnings(), kind.chosen(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            run = Programs(device, graphs=device.type == "cuda").make(kind.reader(slots))
            return {name: timed(run, device)}
        except (RuntimeError, ImportError):
            return {}


class FullStepper(InPlace):
    """A decoder that has read all but one token of a text: each step writes one slot in place, and reads all of them.

    The slot that it writes is another one each time, as in a ring, which costs the same.

    Args:
        model: The decoder.
        batch: Texts side by side.
        context: Slots, the one of the step counted.
        choice: The attention; torch's default if None.
        programs: What captures graphs.
        recipe: How all else is worked out.
        compile: Whether steps are compiled.
    """

    def __init__(
        self,
        model: Any,
        batch: int,
        context: int,
        choice: Choice | None,
        programs: Programs,
        recipe: Recipe = DEFAULT,
        *,
        compile: bool,
    ) -> None:
        super().__init__(model, model.start(batch), programs)
        recipe = recipe if choice is None else choice.recipe(recipe)
        self.slots = SlotStack(model.stack, batch, context, recipe, masked=False, ring=False)
        for kept in self.slots.kept:
            kept.normal_()
        with nullcontext() if choice is None else choice.chosen():
            self.run = programs.make(self.read, recipe, compile=compile)

    def read(self) -> Tensor:
        return self.slots.step(self.model.embed(self.token[:, None])[:, 0], self.model.head._weight())

    def fill(self, stream: Stream) -> None:
        self.slots.load(stream.cache)

    def tensors(self) -> list[Tensor]:
        return self.slots.kept


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Return the median of seconds that a run takes."""
    seconds = []
    for _ in range(REPEATS):
        if device.type != "cuda":
            begun = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - begun)
            continue
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        run()
        after.record()
        after.synchronize()
        seconds.append(before.elapsed_time(after) / 1e3)
    return statistics.median(seconds)
