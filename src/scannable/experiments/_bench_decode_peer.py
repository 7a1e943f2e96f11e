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
from scannable.models._stepper_slots import SlotStack
from scannable.models._stepper_work import TORCH, Work, fastest
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

    def work(self, work: Work) -> Work:
        """Return a way to work with this attention."""
        return _WAYS[self.name].work(work)

    def chosen(self) -> AbstractContextManager[Any]:
        """Let torch use no other kernel than the chosen one."""
        return _WAYS[self.name].chosen()


@dataclass(frozen=True, kw_only=True)
class _Way:
    backend: SDPBackend | None = None
    """Which of torch's kernels; ours if left out."""
    parts: int = 1

    def chosen(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.backend is None else sdpa_kernel(self.backend)

    def work(self, work: Work) -> Work:
        early = getattr(work.linear, "early", False)
        if self.backend is not None:
            # A compiler does not know what an early launch is.
            maps: Any = work.linear
            return replace(
                work, linear=replace(maps, early=False) if early else maps, attend=TORCH.attend, compiled=True
            )
        from scannable.models._stepper_attention import Attend  # needs triton

        return replace(work, attend=Attend(parts=self.parts, early=early))


_WAYS = {
    "flash": _Way(backend=SDPBackend.FLASH_ATTENTION),
    "cudnn": _Way(backend=SDPBackend.CUDNN_ATTENTION),
    "efficient": _Way(backend=SDPBackend.EFFICIENT_ATTENTION),
    "math": _Way(backend=SDPBackend.MATH),
    **{f"kernel, {n} parts": _Way(parts=n) for n in (4, 16, 64)},
}


def fastest_attention(stack: Transformer, batch: int, context: int, device: torch.device) -> Choice:
    """Time every attention of one slot over so many, in all layers, and choose."""
    slots = SlotStack(stack, batch, context, ring=False, full=True)
    seconds = {}
    for name, way in _WAYS.items():
        seconds |= _tried(name, way, slots, device)
    return Choice(name=min(seconds, key=lambda name: seconds[name]), seconds=seconds)


def _tried(name: str, way: _Way, slots: SlotStack, device: torch.device) -> dict[str, float]:
    """Return what one attention takes, or nothing if it does not work here."""
    qkv = slots.kept[0][0, :, :, 0].flatten(1).repeat(1, 3)
    with warnings.catch_warnings(), way.chosen(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            attend = way.work(slots.work).attend
            run = Programs(device).make(
                lambda: [attend(qkv, kept, None, slots.position, None, ordered=False) for kept in slots.kept]
            )
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
        choice: The attention; as in other steppers if None.
        programs: What captures graphs.
        compile: Whether steps are compiled, if there is anything to fuse.
    """

    def __init__(
        self,
        model: Any,
        batch: int,
        context: int,
        choice: Choice | None,
        programs: Programs,
        *,
        compile: bool,
    ) -> None:
        super().__init__(model, model.start(batch), programs)
        work = fastest(model.stack, batch)
        work = work if choice is None else choice.work(work)
        self.slots = SlotStack(model.stack, batch, context, ring=False, full=True, work=work)
        for kept in self.slots.kept:
            kept.normal_()
        with nullcontext() if choice is None else choice.chosen():
            self.run = programs.make(self.read, compile=compile and work.compiled)

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
