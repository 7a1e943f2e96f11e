"""Enc + Agg + Inf: one model in two forms, parallel over a tree and streaming with a counter."""

from typing import Any, Literal

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from scannable.models._stream import Stream
from scannable.modules import Inference
from scannable.scans import Aggregator, Counter, State, scan


class PrefixScannable(nn.Module):
    """A prefix-scannable model ([1] v2, Definition 3.1), of any three parts.

    Output ``t`` has seen tokens up to and with ``t``: those of the chunk so far, and all chunks before through
    one state. Any number of tokens is legal; a last, partial chunk is only read by ``inference``.

    Args:
        encoder: ``encoder(tokens (R, C)) -> state (R, ...)``.
        aggregator: Anything with ``combine`` and ``identity``.
        inference: ``inference(prefix, tokens (R, n)) -> (R, n, ...)`` for ``n <= C``, with a streaming form.
        chunk: ``C``, tokens in a chunk.
        token_shape: The shape of one token: ``()`` for ids, ``(D,)`` for vectors.
        recompute: Run the aggregator again in the backward pass rather than keep what it computed.

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
        token_shape: tuple[int, ...] = (),
        recompute: bool = False,
    ) -> None:
        super().__init__()
        if chunk < 1:
            raise ValueError(f"A chunk needs at least one token, got chunk={chunk}; raise it.")
        self.encoder, self.aggregator, self.inference = encoder, aggregator, inference
        self.chunk, self.token_shape, self.recompute = chunk, token_shape, recompute

    def forward(self, tokens: Shaped[Tensor, "B T *token"]) -> Shaped[Tensor, "B T ..."]:
        """Read whole sequences in parallel.

        Raises:
            ValueError: If the tokens have the wrong rank, batch or device.
        """
        self._check(tokens)
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
            outputs.append(self._read_chunks(_span(prefixes, 0, whole - 1), inner, 1))
        if whole * self.chunk < length:
            rest = tokens[:, whole * self.chunk :]
            outputs.append(self._read(_at(prefixes, whole - 1), rest, whole))
        return torch.cat(outputs, 1)

    def start(self, batch: int = 1) -> Stream:
        """Begin ``batch`` streams that have read nothing."""
        counter = Counter.empty(self.aggregator, self._like(batch))
        chunk = self._blank(batch)[:, :0]
        return Stream(count=0, counter=counter, chunk=chunk, cache=self._start(counter, chunk))

    def step(self, stream: Stream, token: Shaped[Tensor, "B ..."]) -> tuple[Shaped[Tensor, "B ..."], Stream]:
        """Read one token; return what is said of it, and the stream after it."""
        return self.prefill(stream, token[:, None])

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
            ValueError: If the tokens have the wrong rank, batch or device, or the last of none is asked for.
        """
        self._check(tokens)
        length, outputs = tokens.shape[1], []
        if logits not in ("last", "all"):
            raise ValueError(f"logits must be 'last' or 'all', got {logits!r}.")
        if not length and logits == "last":
            raise ValueError("There is no last output of no tokens, got T=0; ask for logits='all'.")
        assert stream.chunk is not None
        if stream.chunk.shape[0] != tokens.shape[0]:
            raise ValueError(
                f"The stream is a batch of {stream.chunk.shape[0]}, got tokens of shape {tuple(tokens.shape)}; "
                f"start a stream for each batch size."
            )
        if not length:
            return self(tokens), stream
        head = min(length, -stream.count % self.chunk)
        if head:
            output, stream = self._read_within(stream, tokens[:, :head])
            outputs.append(output)
        whole = (length - head) // self.chunk * self.chunk
        if whole:
            every = logits == "all" or head + whole == length
            output, stream = self._read_whole(stream, tokens[:, head : head + whole], every=logits == "all")
            outputs += [output] if every else []
        if head + whole < length:
            output, stream = self._read_within(stream, tokens[:, head + whole :])
            outputs.append(output)
        return (torch.cat(outputs, 1) if logits == "all" else outputs[-1][:, -1]), stream

    def restore(self, named: dict[str, Tensor]) -> Stream:
        """Return the stream that ``Stream.tensors()`` wrote, to be resumed by this model.

        Raises:
            ValueError: If it is not a stream of such a model.
        """
        return Stream.from_tensors(named, self.aggregator)

    def _read_within(self, stream: Stream, tokens: Tensor) -> tuple[Tensor, Stream]:
        """Read tokens that do not go beyond the current chunk."""
        counter, chunk = stream.counter, stream.chunk
        assert counter is not None
        assert chunk is not None
        output, cache = self.inference.step(stream.cache, tokens)
        chunk = torch.cat([chunk, tokens], 1)
        if chunk.shape[1] == self.chunk:
            counter = counter.push(_at(self._encode(chunk, counter.count), 0))
            chunk, cache = chunk[:, :0], self._start(counter, chunk)
        count = stream.count + tokens.shape[1]
        return output, Stream(count=count, counter=counter, chunk=chunk, cache=cache)

    def _read_whole(self, stream: Stream, tokens: Tensor, *, every: bool) -> tuple[Tensor, Stream]:
        """Read whole chunks at a chunk's boundary; return all outputs, or those of the last chunk."""
        before = stream.counter
        assert before is not None
        prefixes, counter = before.extend(self._encode(tokens, before.count))
        chunks = tokens.shape[1] // self.chunk
        skip = 0 if every else chunks - 1
        outputs = []
        if before.count + skip == 0:
            outputs.append(self._read(self._empty_prefix(tokens.shape[0]), tokens[:, : self.chunk], 0))
            skip = 1
        if skip < chunks:
            rest = tokens[:, skip * self.chunk :]
            outputs.append(self._read_chunks(_span(prefixes, skip, chunks), rest, before.count + skip))
        count = stream.count + tokens.shape[1]
        after = Stream(count=count, counter=counter, chunk=tokens[:, :0], cache=self._start(counter, tokens))
        return torch.cat(outputs, 1), after

    def _encode(self, tokens: Tensor, number: int) -> State:
        """Encode whole chunks, the first of them chunk ``number`` of the text: ``(B, N, ...)``."""
        rows = tokens.unflatten(1, (-1, self.chunk))
        batch, chunks = rows.shape[:2]
        place = self._place(self.encoder, number, tokens, chunks)
        leaves = self.encoder(rows.flatten(0, 1), **place)
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

    def _start(self, counter: Counter, like: Tensor) -> Any:
        """Open the chunk after those of the counter, for tokens on the device of ``like``."""
        prefix = counter.prefix if counter.count or self.inference.reads_identity else None
        return self.inference.start(prefix, **self._place(self.inference, counter.count, like))

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
            return _at(self._encode(self._blank(batch), 0), 0)

    def _blank(self, batch: int) -> Tensor:
        """Some chunk of tokens, ``(batch, C)``."""
        some = next(self.parameters(), torch.zeros(()))
        dtype = some.dtype if self.token_shape else torch.long
        return torch.zeros(batch, self.chunk, *self.token_shape, dtype=dtype, device=some.device)

    def _check(self, tokens: Tensor) -> None:
        blank = self._blank(0)
        shape, rank = tuple(tokens.shape), 2 + len(self.token_shape)
        if len(shape) != rank or shape[0] == 0 or shape[2:] != self.token_shape:
            wanted = ", ".join(["B >= 1", "T", *map(str, self.token_shape)])
            raise ValueError(
                f"Tokens must have shape ({wanted}), got {shape}; put batch first, tokens second."
            )
        if tokens.device != blank.device:
            raise ValueError(
                f"Tokens must be on the model's device, {blank.device}, got {tokens.device}; move them with .to()."
            )


def _at(states: State, place: int) -> State:
    return tree_map(lambda x: x[:, place], states)


def _span(states: State, start: int, stop: int) -> State:
    return tree_map(lambda x: x[:, start:stop], states)
