"""What every model does with its own ``prefill`` and streams: a step, generation, resumption."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from scannable.models._check import as_sequence, check_reading, check_tokens
from scannable.models._generate import generate
from scannable.models._stepper import stepper
from scannable.models._stepper_base import Stepper
from scannable.models._stream import Stream


class Streaming(nn.Module):
    """A model that reads a stream; one derives from it and writes ``prefill`` and ``_stream_like``.

    Parts of models are shared: a tied head holds the token embedding. ``torch.func.functional_call`` is safe with
    ``tie_weights=False``, which is enough, since what is shared is one module; without it torch 2.13 leaves the given
    weights behind in a module that it knows by two names.
    """

    def __init__(self) -> None:
        super().__init__()
        self._mark = uuid.uuid4()  # what its streams bear; an id would come again once a model is gone

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take another mark, since a copy may be changed by itself."""
        super().__setstate__(state)
        self._mark = uuid.uuid4()

    def prefill(
        self, stream: Stream, tokens: Tensor, logits: Literal["last", "all"] = "last"
    ) -> tuple[Tensor, Stream]:
        """Read any number of tokens."""
        raise NotImplementedError

    def _stream_like(self, count: int) -> Stream:
        """Return some stream of one text of ``count`` tokens, only to tell what streams are like."""
        raise NotImplementedError

    def step(self, stream: Stream, token: Shaped[Tensor, "B ..."]) -> tuple[Shaped[Tensor, "B ..."], Stream]:
        """Read one token; return what is said of it, and the stream after it."""
        return self.prefill(stream, as_sequence(token))

    def generate(self, prompt: Int[Tensor, "B T"], **options: Any) -> Iterator[Int[Tensor, " B"]]:
        """Yield tokens that go on from the prompt; options are those of ``models.generate``."""
        return generate(self, prompt, **options)

    def stepper(self, stream: Stream, **options: Any) -> Stepper:
        """Read on from a stream in place, at a constant cost a token; options are those of ``models.stepper``."""
        return stepper(self, stream, **options)

    def restore(self, named: dict[str, Tensor]) -> Stream:
        """Return the stream that ``Stream.tensors()`` wrote, to be resumed by this model.

        Raises:
            ValueError: If it is not a stream of such a model.
        """
        return Stream.from_tensors(named, self._stream_like)


class StreamingText(Streaming):
    """A model of ids whose stream is a cache alone; one derives from it, with ``embed``, ``head`` and ``_extend``."""

    embed: Any
    head: Any

    def prefill(
        self, stream: Stream, tokens: Int[Tensor, "B T"], logits: Literal["last", "all"] = "last"
    ) -> tuple[Float[Tensor, "B *T V"], Stream]:
        """Read ``T`` tokens; return the ``"last"`` logits, ``(B, V)``, or ``"all"``, ``(B, T, V)``, and the stream.

        Raises:
            TypeError: If the tokens have the wrong dtype.
            ValueError: If they have the wrong shape or device or are out of range, the stream is not one of such a
                model and batch, there are no more positions, or the last of no tokens is asked for.
        """
        check_tokens(tokens, self._blank())
        check_reading(stream, tokens, logits, owner=self._mark)
        if not tokens.shape[1]:
            return self(tokens), stream
        read, cache = self._extend(stream.cache, self.embed(tokens))
        stream = replace(stream, count=stream.count + tokens.shape[1], cache=cache)
        return self.head(read if logits == "all" else read[:, -1]), stream

    def _extend(self, cache: Any, x: Tensor) -> tuple[Tensor, Any]:
        """Read embedded tokens; return what the head would read, and the cache after them."""
        raise NotImplementedError

    def _blank(self) -> Int[Tensor, "0 0"]:
        return torch.zeros(0, 0, dtype=torch.long, device=self.embed.tokens.weight.device)
