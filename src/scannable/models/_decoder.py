"""The baseline: a GPT-2-style decoder of the same blocks, whose stream grows with every token, or to its window."""

from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float, Int
from torch import Tensor

from scannable.models._check import check_batch, check_config, check_tokens
from scannable.models._head import Head
from scannable.models._stream import Stream
from scannable.models._streaming import StreamingText
from scannable.modules import Positions, TokenEncoder, Transformer, initialise_gpt2


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """A decoder with causal attention, full or in a window."""

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
    window: int | None = None
    """How many tokens each layer sees at once, so that a stream stops growing; all of them if left out."""
    initialisation: Literal["inputs", "gpt2"] = "inputs"
    """First weights by the number of a map's inputs; or GPT-2's, of deviation 0.02."""
    tied: bool = True
    """Whether the head's weights are those of the token embedding."""
    norm: float | None = None
    """Length of every token vector; free if left out."""
    scaled: bool = False
    """Whether token vectors are multiplied by the root of the width where they are read, though not in a tied head."""
    logit_scale: float = 1.0
    """What the head's logits are multiplied with."""
    dropout: float = 0.0
    """Share of activations dropped in training."""

    def __post_init__(self) -> None:
        check_config(self)


class Decoder(StreamingText):
    """A causal Transformer language model with a key-value cache.

    Args:
        config: Its shape.
        vocabulary: How many tokens there are.
    """

    def __init__(self, config: DecoderConfig, vocabulary: int) -> None:
        super().__init__()
        self.embed = TokenEncoder(vocabulary, config.width, norm=config.norm, scaled=config.scaled)
        self.stack = Transformer(
            config.width,
            config.heads,
            config.layers,
            positions=config.positions,
            slots=config.limit,
            window=config.window,
            dropout=config.dropout,
        )
        self.head = Head(self.embed.tokens, tied=config.tied, scale=config.logit_scale)
        if config.initialisation == "gpt2":
            initialise_gpt2(self, config.layers)

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Read whole sequences.

        Raises:
            TypeError: If the tokens have the wrong dtype.
            ValueError: If they have the wrong shape or device, are out of range, or more than there are positions.
        """
        return self.head(self.features(tokens))

    def features(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """Read whole sequences; return what the head would read."""
        check_tokens(tokens, self._blank())
        return self.stack(self.embed(tokens))

    def start(self, batch: int = 1) -> Stream:
        """Begin ``batch`` streams that have read nothing."""
        check_batch(batch)
        return Stream(owner=self._mark, count=0, batch=batch, cache=(0, ()))

    def _stream_like(self, count: int) -> Stream:
        """Return some stream of one text of ``count`` tokens, only to tell what streams are like."""
        return Stream(owner=self._mark, count=count, batch=1, cache=self.stack.blank(count))

    def _extend(self, cache: Any, x: Tensor) -> tuple[Tensor, Any]:
        return self.stack.extend(cache, x)
