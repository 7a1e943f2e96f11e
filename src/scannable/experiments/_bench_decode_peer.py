"""The peer at its best: a full-attention decoder at one length of text, with the attention that is fastest there."""

import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from scannable.models._stepper_base import InPlace
from scannable.models._stepper_graph import Programs
from scannable.models._stepper_slots import SlotStack
from scannable.models._stream import Stream
from scannable.modules import Transformer
from scannable.modules._slots import SlotAttention, fused, products

REPEATS = 20
"""Runs of which the median counts."""


def plain(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Read by two matrix products and a softmax."""
    assert bias is None
    shares = (q @ keys.mT * q.shape[-1] ** -0.5).softmax(-1, dtype=torch.float32)
    return shares.to(q.dtype) @ values


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which attention was fastest."""

    name: str
    """What it is called."""
    seconds: dict[str, float]
    """What each that works here took for all layers."""

    @property
    def attention(self) -> SlotAttention:
        """The function."""
        return _KINDS[self.name][0]

    def chosen(self) -> AbstractContextManager[Any]:
        """Let torch use no other kernel than the chosen one."""
        return _backend(self.name)


_KINDS: dict[str, tuple[SlotAttention, SDPBackend | None]] = {
    "flash": (fused, SDPBackend.FLASH_ATTENTION),
    "cudnn": (fused, SDPBackend.CUDNN_ATTENTION),
    "efficient": (fused, SDPBackend.EFFICIENT_ATTENTION),
    "matmul": (plain, None),
    "compiled": (products, None),
}


def fastest(stack: Transformer, batch: int, context: int, device: torch.device, *, compile: bool) -> Choice:
    """Time every attention of one slot over so many, in all layers, and choose."""
    slots = SlotStack(stack, batch, context, masked=False)
    seconds = {}
    for name, (attention, _) in _KINDS.items():
        if name == "compiled" and not compile:
            continue
        run = torch.compile(attention, dynamic=False) if name == "compiled" else attention
        seconds |= _tried(name, run, slots, device)
    return Choice(name=min(seconds, key=lambda name: seconds[name]), seconds=seconds)


def _tried(name: str, attention: SlotAttention, slots: SlotStack, device: torch.device) -> dict[str, float]:
    """Return what one attention takes, or nothing if it does not work here."""
    q = slots.keys[0][:, :, :1].clone()

    def run() -> None:
        for keys, values in zip(slots.keys, slots.values, strict=True):
            attention(q, keys, values, None)

    with warnings.catch_warnings(), _backend(name), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            return {name: timed(Programs(device, graphs=device.type == "cuda").make(run), device)}
        except RuntimeError:
            return {}


def _backend(name: str) -> AbstractContextManager[Any]:
    backend = _KINDS[name][1]
    return nullcontext() if backend is None else sdpa_kernel(backend)


class FullStepper(InPlace):
    """A decoder that has read all but one token of a text: each step writes one slot in place, and reads all of them.

    The slot that it writes is another one each time, as in a ring, which costs the same.

    Args:
        model: The decoder.
        batch: Texts side by side.
        context: Slots, the one of the step counted.
        choice: The attention; torch's default if None.
        programs: What captures graphs.
        compile: Whether steps are compiled.
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
        attention = fused if choice is None else choice.attention
        self.slots = SlotStack(model.stack, batch, context, masked=False, attention=attention)
        for kept in self.slots.tensors():
            kept.normal_()
        with nullcontext() if choice is None else choice.chosen():
            self.run = programs.make(self.read, compile=compile)

    def read(self) -> Tensor:
        return self.model.head(self.slots.step(self.model.embed(self.token[:, None]))[:, 0])

    def fill(self, stream: Stream) -> None:
        self.slots.load(stream.cache)

    def tensors(self) -> list[Tensor]:
        return self.slots.tensors()


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
