"""A prefix-scannable model in a few lines, written against the protocol only, and ready to be broken."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from operators import Learned
from scannable import Counter, scan


@dataclass(frozen=True, eq=False)
class ToyStream:
    counter: Counter
    chunk: torch.Tensor  # the embedded tokens of the open chunk, (B, c, D)

    @property
    def count(self):
        return self.counter.count * 3 + self.chunk.shape[1]

    @property
    def nbytes(self):
        states = [x for x in (*self.counter.roots, *self.counter.folds) if x is not None]
        return sum(x.nbytes for x in [*states, self.chunk, self.counter.empty_prefix])

    def tensors(self):
        from scannable.testing._resume import counter_tensors

        return counter_tensors(self.counter) | {"chunk": self.chunk}


class ToyPSM(nn.Module):
    """Chunks of three tokens; inference adds the prefix to a causal mean of the chunk."""

    chunk = 3

    def __init__(self, vocabulary=11, width=8, aggregator=None):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.embedding = nn.Parameter(torch.randn(vocabulary, width, generator=generator))
        self.place = nn.Parameter(torch.randn(self.chunk, width, generator=generator))
        self.head = nn.Parameter(torch.randn(width, vocabulary, generator=generator))
        self.aggregator = aggregator or Learned(width)

    def encode(self, chunks):
        """(R, C, D) -> (R, D)."""
        return torch.tanh(chunks * self.place).sum(1)

    def infer(self, prefix, chunk):
        """(R, D), (R, c, D) -> logits (R, c, V)."""
        length = chunk.shape[1]
        seen = torch.cumsum(chunk * self.place[:length], 1)
        return torch.tanh(prefix[:, None] + seen) @ self.head

    def leaves(self, embedded):
        B, T, _D = embedded.shape
        chunks = embedded.unflatten(1, (T // self.chunk, self.chunk)).flatten(0, 1)
        return self.encode(chunks).unflatten(0, (B, T // self.chunk))

    def forward(self, tokens):
        embedded = self.embedding[tokens]
        B, T, _D = embedded.shape
        N = -(-T // self.chunk)
        padded = nn.functional.pad(embedded, (0, 0, 0, N * self.chunk - T))
        prefixes = scan(self.aggregator, self.leaves(padded))
        chunks = padded.unflatten(1, (N, self.chunk)).flatten(0, 1)
        return self.infer(prefixes.flatten(0, 1), chunks).unflatten(0, (B, N)).flatten(1, 2)[:, :T]

    def start(self, batch):
        like = self.embedding[:1].expand(batch, -1)
        return ToyStream(Counter.empty(self.aggregator, like), like[:, None][:, :0])

    def read(self, stream, embedded):
        joined = torch.cat([stream.chunk, embedded], 1)
        B, T, _D = joined.shape
        N = T // self.chunk
        prefixes, counter = stream.counter.extend(self.leaves(joined[:, : N * self.chunk]))
        full = joined[:, : N * self.chunk].unflatten(1, (N, self.chunk)).flatten(0, 1)
        logits = self.infer(prefixes.flatten(0, 1), full).unflatten(0, (B, N)).flatten(1, 2)
        rest = joined[:, N * self.chunk :]
        logits = torch.cat([logits, self.infer(counter.prefix, rest)], 1)
        return logits[:, stream.chunk.shape[1] :], ToyStream(counter, rest.clone())

    def prefill(self, stream, tokens, logits="last"):
        found, stream = self.read(stream, self.embedding[tokens])
        return (found if logits == "all" else found[:, -1]), stream

    def step(self, stream, token):
        """By push, not extend: another way to the same states."""
        chunk = torch.cat([stream.chunk, self.embedding[token][:, None]], 1)
        logits = self.infer(stream.counter.prefix, chunk)[:, -1]
        if chunk.shape[1] < self.chunk:
            return logits, replace(stream, chunk=chunk)
        return logits, ToyStream(stream.counter.push(self.encode(chunk)), chunk[:, :0])

    def restore(self, tensors):
        from scannable.testing._resume import restore_counter

        like = self.embedding[:1].expand(len(tensors["chunk"]), -1)
        return ToyStream(restore_counter(self.aggregator, like, tensors), tensors["chunk"])
