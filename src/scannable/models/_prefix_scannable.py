"""Enc + Agg + Inf: one model in two forms, parallel over a tree and streaming with a counter."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from scannable.models._check import check_batch, check_chunk, check_reading, check_tokens
from scannable.models._stream import Stream
from scannable.models._streaming import Streaming
from scannable.modules import Inference
from scannable.scans import Aggregator, Counter, State, scan
from scannable.scans._tree import along

PIECE = 65_536
"""Tokens whose states ``prefill`` keeps in memory together."""


class PrefixScannable(Streaming):
    """A prefix-scannable model ([1] v2, Definition 3.1), of any three parts.

    Output ``t`` has seen tokens up to and with ``t``: those of the chunk so far, and all chunks before through
    one state. Any number of tokens is legal; a last, partial chunk is only read by ``inference``.

    Args:
        encoder: ``encoder(tokens (R, C)) -> state (R, ...)``.
        aggregator: Anything with ``combine`` and ``identity``.
        inference: ``inference(prefix, tokens (R, n)) -> (R, n, ...)`` for ``n <= C``, with a streaming form.
        head: What is said of each of its outputs, place by place, such as a map onto the vocabulary; the outputs
            themselves if left out. It is only asked about places that are wanted.
        chunk: ``C``, tokens in a chunk.
        token_shape: The shape of one token: ``()`` for ids, ``(D,)`` for vectors.
        recompute: Run the aggregator again in the backward pass rather than keep what it computed.

    The parameters of an aggregator are the model's, and trained, only if it is an ``nn.Module``. Stream under
    ``torch.no_grad()`` unless gradients through the stream are wanted.

    An encoder or inference module with an attribute ``absolute = True`` is also given the place of each row's first
    token in the text, as ``position`` ``(R,)``.

    [1] Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918.
    """

    def __init__(
        self,
        encoder: nn.Module,
        aggregator: Aggregator,
        inference: Inference,
        *,
        chunk: int,
        head: nn.Module | None = None,
        token_shape: tuple[int, ...] = (),
        recompute: bool = False,
    ) -> None:
        super().__init__()
        check_chunk(chunk)
        if not isinstance(inference, Inference):
            raise TypeError(
                f"inference must be a modules.Inference, got {type(inference).__name__}; derive from it, and write "
                f"forward(prefix, tokens)."
            )
        self.encoder, self.aggregator, self.inference = encoder, aggregator, inference
        self.head = nn.Identity() if head is None else head
        self.chunk, self.token_shape, self.recompute = chunk, token_shape, recompute

    def forward(self, tokens: Shaped[Tensor, "B T *token"]) -> Shaped[Tensor, "B T ..."]:
        """Read whole sequences in parallel.

        Raises:
            TypeError: If the tokens have the wrong dtype.
            ValueError: If they have the wrong shape or device, or are out of range.
        """
        return self.head(self.features(tokens))

    def features(self, tokens: Shaped[Tensor, "B T *token"]) -> Shaped[Tensor, "B T ..."]:
        """Read whole sequences in parallel; return what the head would read."""
        tokens = check_tokens(tokens, self._blank(0))
        batch, length = tokens.shape[:2]
        # No state is needed of the chunk that holds the last token.
        before = max(0, length - 1) // self.chunk
        first = self._read(self._empty_prefix(batch), tokens[:, : self.chunk], 0)
        if not before:
            return first
        leaves = self._encode(tokens[:, : before * self.chunk], 0)
        prefixes = scan(self.aggregator, leaves, inclusive=True, recompute=self.recompute)
        whole = length // self.chunk
        outputs = [first]
        if whole > 1:
            inner = tokens[:, self.chunk : whole * self.chunk]
            outputs.append(self._read_chunks(along(prefixes, slice(whole - 1)), inner, 1))
        if whole * self.chunk < length:
            rest = tokens[:, whole * self.chunk :]
            outputs.append(self._read(along(prefixes, whole - 1), rest, whole))
        return torch.cat(outputs, 1)

    def start(self, batch: int = 1) -> Stream:
        """Begin ``batch`` streams that have read nothing."""
        check_batch(batch)
        return self._open(Counter.empty(self.aggregator, self._like(batch)), self._blank(batch))

    def prefill(
        self,
        stream: Stream,
        tokens: Shaped[Tensor, "B T *token"],
        logits: Literal["last", "all"] = "last",
    ) -> tuple[Shaped[Tensor, "B ..."], Stream]:
        """Read any number of tokens at any offset, in parallel, as ``step`` by ``step`` would.

        Args:
            stream: What was read before.
            tokens: ``T >= 0`` tokens.
            logits: ``"all"`` outputs, ``(B, T, ...)``, or only the ``"last"``, ``(B, ...)``: then whole chunks
                before the last token's only cost their merges.

        Returns:
            The outputs, and the stream after the tokens; the stream given stays as it was.

        Raises:
            TypeError: If the tokens have the wrong dtype.
            ValueError: If they have the wrong shape or device or are out of range, the stream is not one of this
                model and batch, or the last output of no tokens is asked for.
        """
        tokens = check_tokens(tokens, self._blank(0))
        check_reading(stream, tokens, logits, owner=self._mark)
        length = tokens.shape[1]
        if not length:
            return self(tokens), stream
        outputs: list[Tensor] = []
        head = min(length, -stream.count % self.chunk)
        if head:
            output, stream = self._read_within(stream, tokens[:, :head])
            outputs.append(output)
        whole, rest = divmod(length - head, self.chunk)
        if whole:
            # Of chunks whose outputs nobody asked for, only the states are needed, and these piece by piece.
            skip, piece = 0 if logits == "all" else whole - (rest == 0), max(1, PIECE // self.chunk)
            for start in range(0, whole, piece):
                stop = min(whole, start + piece)
                inner = tokens[:, head + start * self.chunk : head + stop * self.chunk]
                output, stream = self._read_whole(stream, inner, min(max(0, skip - start), stop - start))
                outputs += output
        if rest:
            output, stream = self._read_within(stream, tokens[:, length - rest :])
            outputs.append(output)
        return self.head(torch.cat(outputs, 1) if logits == "all" else outputs[-1][:, -1]), stream

    def _stream_like(self, count: int) -> Stream:
        """Return some stream of one text of ``count`` tokens, only to tell what streams are like."""
        chunks, rest = divmod(count, self.chunk)
        counter, blank = Counter.empty(self.aggregator, self._like(1)), self._blank(1)
        states = tuple(counter.empty_prefix if chunks >> k & 1 else None for k in range(chunks.bit_length()))
        stream = self._open(replace(counter, count=chunks, roots=states, folds=states), blank)
        return self._read_within(stream, blank[:, :rest])[1] if rest else stream

    def _open(self, counter: Counter, like: Tensor) -> Stream:
        """Open the chunk after those of the counter, for tokens like these."""
        prefix = counter.prefix if counter.count or self.inference.reads_identity else None
        return Stream(
            owner=self._mark,
            count=counter.count * self.chunk,
            batch=like.shape[0],
            counter=counter,
            chunk=like[:, :0].clone(),
            cache=self.inference.start(prefix, **self._place(self.inference, counter.count, like)),
        )

    def _read_within(self, stream: Stream, tokens: Tensor) -> tuple[Tensor, Stream]:
        """Read tokens that do not go beyond the current chunk."""
        assert stream.chunk is not None
        output, cache = self.inference.step(stream.cache, tokens)
        chunk = torch.cat([stream.chunk, tokens], 1)
        if chunk.shape[1] < self.chunk:
            count = stream.count + tokens.shape[1]
            return output, replace(stream, count=count, chunk=chunk, cache=cache)
        counter = self._own(stream.counter)
        leaf = along(self._encode(chunk, counter.count), 0)
        return output, self._open(counter.push(leaf), tokens)

    def _own(self, counter: Counter | None) -> Counter:
        """Let a counter merge with the model's aggregator, where a copied stream brings a copy of it."""
        assert counter is not None
        return replace(counter, aggregator=self.aggregator)

    def _read_whole(self, stream: Stream, tokens: Tensor, skip: int) -> tuple[list[Tensor], Stream]:
        """Read whole chunks at a chunk's boundary; return the outputs of all but the first ``skip``."""
        before = self._own(stream.counter)
        prefixes, after = before.extend(self._encode(tokens, before.count))
        chunks, outputs = tokens.shape[1] // self.chunk, []
        if before.count + skip == 0:
            outputs.append(self._read(self._empty_prefix(tokens.shape[0]), tokens[:, : self.chunk], 0))
            skip = 1
        if skip < chunks:
            rest = tokens[:, skip * self.chunk :]
            outputs.append(self._read_chunks(along(prefixes, slice(skip, chunks)), rest, before.count + skip))
        return outputs, self._open(after, tokens)

    def _encode(self, tokens: Tensor, number: int) -> State:
        """Encode whole chunks, the first of them chunk ``number`` of the text: ``(B, N, ...)``."""
        rows = tokens.unflatten(1, (-1, self.chunk))
        batch, chunks = rows.shape[:2]
        place = self._place(self.encoder, number, tokens, chunks)
        leaves = self.encoder(rows.flatten(0, 1), **place)
        found = [tuple(x.shape) for x in tree_leaves(leaves)]
        if any(shape[:1] != (batch * chunks,) for shape in found):
            raise ValueError(
                f"The encoder must return a state for each of its {batch * chunks} rows, got shapes {found}; "
                f"keep axis 0 as it is."
            )
        return tree_map(lambda x: x.unflatten(0, (batch, chunks)), leaves)

    def _read_chunks(self, prefixes: State, tokens: Tensor, number: int) -> Tensor:
        """Infer on whole chunks at once, each with the prefix before it: ``(B, N C, ...)``."""
        rows = tokens.unflatten(1, (-1, self.chunk))
        batch, chunks = rows.shape[:2]
        place = self._place(self.inference, number, tokens, chunks)
        flat = tree_map(lambda x: x.flatten(0, 1), prefixes)
        outputs = self.inference(flat, rows.flatten(0, 1), **place)
        return outputs.unflatten(0, (batch, chunks)).flatten(1, 2)

    def _read(self, prefix: State | None, tokens: Tensor, number: int) -> Tensor:
        """Infer on one chunk, whole or not."""
        return self.inference(prefix, tokens, **self._place(self.inference, number, tokens))

    def _place(self, module: nn.Module, number: int, like: Tensor, chunks: int = 1) -> dict[str, Tensor]:
        """Tell a module that asks for it where the rows of chunk ``number`` and on begin in the text."""
        if not getattr(module, "absolute", False):
            return {}
        places = self.chunk * torch.arange(number, number + chunks, device=like.device)
        return {"position": places.repeat(like.shape[0])}

    def _empty_prefix(self, batch: int) -> State | None:
        """What the first chunk is read with."""
        return self.aggregator.identity(self._like(batch)) if self.inference.reads_identity else None

    def _like(self, batch: int) -> State:
        """Some state ``(batch, ...)``, only to tell what states are like."""
        with torch.no_grad():
            return along(self._encode(self._blank(batch), 0), 0)

    def _blank(self, batch: int) -> Tensor:
        """Some chunk of tokens, ``(batch, C)``."""
        some = next(self.parameters(), torch.zeros(()))
        dtype = some.dtype if self.token_shape else torch.long
        return torch.zeros(batch, self.chunk, *self.token_shape, dtype=dtype, device=some.device)
