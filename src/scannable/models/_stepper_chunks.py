"""Steps in place of a prefix-scannable model that reads its states by attention."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from scannable.models._stepper_base import InPlace
from scannable.models._stepper_graph import Programs
from scannable.models._stepper_slots import SlotStack
from scannable.models._stream import Stream
from scannable.scans import Counter


class ChunkStepper(InPlace):
    """The counter of ``scans.Counter`` in place: at most two states a level, made when the level is first reached.

    Four programs do the work, and their number never grows: ``read`` a token (one serves all places in a chunk),
    ``encode`` a whole chunk, ``merge`` two states, and ``open`` the next chunk. A carry of depth ``j`` is ``j`` merges,
    and one more makes the fold if there is a root above. All of that is done with the last token of a chunk, as in the
    value form.
    """

    def __init__(self, model: Any, stream: Stream, programs: Programs, *, compile: bool) -> None:
        super().__init__(model, stream, programs)
        chunk, prefix = model.chunk, model.inference.prefix_slots
        self.slots = SlotStack(model.inference.stack, stream.batch, prefix + chunk, ring=False)
        self.ids = model._blank(stream.batch)
        self.start = torch.zeros(1, dtype=torch.long, device=programs.device)
        """Where the chunk begins in the text, if anything depends on it."""
        assert stream.counter is not None
        self.counter: Counter = replace(stream.counter, count=0, roots=(), folds=())
        self.left, self.right = (torch.zeros_like(self.counter.empty_prefix) for _ in range(2))
        """What ``merge`` takes; ``right`` is also what it and ``encode`` return and ``open`` reads."""
        self.roots: list[Tensor] = []
        self.folds: list[Tensor] = []
        self.run = programs.make(
            self.read,
            prepare=lambda: self.slots.load((prefix, ())),
            compile=compile and self.slots.work.compiled,
        )
        self.encode, self.merge, self.open = (
            programs.make(work, compile=compile) for work in (self._encode, self._merge, self._open)
        )
        self.load(stream)

    def read(self) -> Tensor:
        inference, token = self.model.inference, self.token[:, None]
        place = self.slots.position - inference.prefix_slots
        where = self.start + place if inference.absolute else place
        x = inference.embed(token, where.expand(self.batch))
        self.ids.index_copy_(1, place, token)
        return self.slots.step(x[:, 0], self.model.head._weight())

    def advance(self) -> None:
        chunks, rest = divmod(self.count, self.model.chunk)
        if rest:
            return
        before, level = chunks - 1, 0
        self.encode()
        while before >> level & 1:
            self._merge_after(self.roots[level])
            level += 1
        self._reach(level)
        self.roots[level].copy_(self.right)
        above = before >> level
        if above:
            self._merge_after(self.folds[level + (above & -above).bit_length() - 1])
        self.folds[level].copy_(self.right)
        self._begin(self.count)
        self.open()

    def fill(self, stream: Stream) -> None:
        counter, chunk = stream.counter, stream.chunk
        assert counter is not None
        assert chunk is not None
        self._reach(len(counter.roots) - 1)
        for mine, theirs in ((self.roots, counter.roots), (self.folds, counter.folds)):
            for kept, state in zip(mine, theirs, strict=False):
                if state is not None:
                    kept.copy_(state)
        self.ids[:, : chunk.shape[1]] = chunk
        self._begin(counter.count * self.model.chunk)
        self.slots.load(stream.cache[1])

    @torch.no_grad()
    def stream(self) -> Stream:
        inference = self.model.inference
        chunks, rest = divmod(self.count, self.model.chunk)
        end = inference.prefix_slots + rest
        seen = end if chunks or inference.reads_identity else rest
        position = self.start.repeat(self.batch) if inference.absolute else 0
        bits = [chunks >> level & 1 for level in range(chunks.bit_length())]
        roots, folds = (
            tuple(x.clone() if bit else None for x, bit in zip(kept, bits, strict=False))
            for kept in (self.roots, self.folds)
        )
        return Stream(
            owner=self.model._mark,
            count=self.count,
            batch=self.batch,
            cache=(position, self.slots.cache(end, seen) if seen else (end, ())),
            counter=replace(self.counter, count=chunks, roots=roots, folds=folds),
            chunk=self.ids[:, :rest].clone(),
        )

    def tensors(self) -> list[Tensor]:
        # Room of levels that a longer stream before this one has reached is no part of what this one keeps.
        levels = (self.count // self.model.chunk).bit_length()
        return [
            *self.slots.kept, self.ids, self.left, self.right, *self.roots[:levels], *self.folds[:levels]
        ]  # fmt: skip

    def _encode(self) -> None:
        self.right.copy_(self.model.encoder(self.ids, self.start.expand(self.batch)))

    def _merge(self) -> None:
        self.right.copy_(self.model.aggregator.combine(self.left, self.right))

    def _open(self) -> None:
        self.slots.load(self.model.inference.start(self.right)[1])

    def _begin(self, place: int) -> None:
        if self.model.inference.absolute:
            self.start.fill_(place)

    def _merge_after(self, left: Tensor) -> None:
        self.left.copy_(left)
        self.merge()

    def _reach(self, level: int) -> None:
        """Make room for roots and folds up to a level."""
        while len(self.roots) <= level:
            self.roots.append(torch.empty_like(self.right))
            self.folds.append(torch.empty_like(self.right))
