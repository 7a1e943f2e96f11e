"""The baseline: a GPT-2-style decoder of the same blocks, whose stream grows with every token."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from scannable.models._head import Head
from scannable.models._stream import Stream
from scannable.modules import Positions, TokenEncoder, Transformer


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """A decoder with full causal attention."""

    width: int = 128
    """Model width."""
    heads: int = 4
    """Attention heads; they divide the width."""
    layers: int = 2
    """Blocks of attention and MLP."""
    positions: Positions = "absolute"
    """Learned vectors up to `limit`, as in GPT-2; rotary; or none."""
    limit: int = 1024
    """How many absolute positions are learned; the other kinds have no limit."""
    tied: bool = True
    """Whether the head's weights are those of the token embedding."""
    dropout: float = 0.0
    """Share of activations dropped in training."""


class Decoder(nn.Module):
    """A causal Transformer language model with a key-value cache.

    Args:
        config: Its shape.
        vocabulary: How many tokens there are.
    """

    def __init__(self, config: DecoderConfig, vocabulary: int) -> None:
        super().__init__()
        self.embed = TokenEncoder(vocabulary, config.width)
        self.stack = Transformer(
            config.width,
            config.heads,
            config.layers,
            positions=config.positions,
            slots=config.limit,
            dropout=config.dropout,
        )
        self.head = Head(self.embed.tokens, tied=config.tied)

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Read whole sequences."""
        return self.head(self.stack(self.embed(tokens)))

    def start(self, batch: int = 1) -> Stream:
        """Begin ``batch`` streams that have read nothing."""
        return Stream(count=0, cache=(0, ()))

    def step(self, stream: Stream, token: Int[Tensor, " B"]) -> tuple[Float[Tensor, "B V"], Stream]:
        """Read one token."""
        return self.prefill(stream, token[:, None])

    def prefill(
        self, stream: Stream, tokens: Int[Tensor, "B T"], logits: Literal["last", "all"] = "last"
    ) -> tuple[Float[Tensor, "B *T V"], Stream]:
        """Read ``T`` tokens; return the ``"last"`` logits, ``(B, V)``, or ``"all"``, ``(B, T, V)``."""
        read, cache = self.stack.extend(stream.cache, self.embed(tokens))
        stream = Stream(count=stream.count + tokens.shape[1], cache=cache)
        return self.head(read if logits == "all" else read[:, -1]), stream

    def restore(self, named: dict[str, Tensor]) -> Stream:
        """Return the stream that ``Stream.tensors()`` wrote, to be resumed by this model."""
        return Stream.from_tensors(named, None)
