"""What each token of a text cost a model, and the figures that are made of it."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int64

from scannable.training._evaluate import Form
from scannable.training._score_interval import bootstrap

Reading = Literal["blocked", "carried"]

BUCKET = 64
"""Places in the first bucket of `Scores.positions`; each after it ends at twice the place."""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Tokens predicted at places ``first`` to ``last`` of a reading, their number and mean loss (nats)."""

    first: int
    last: int
    tokens: int
    loss: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """The losses of all tokens of a text but its first, in the text's order.

    Sums are in float64, so two forms of one model can be compared token by token.

    Attributes:
        reading: Whether the text was cut in windows (blocked) or each article read whole (carried).
        form: Which form of the model read it.
        length: ``T``, the tokens of a window; None where the text was not cut.
        nats: The cross-entropy of every token.
        places: The place, from 0, of the output that predicted it, in its window or article.
        articles: The number of the article that it belongs to.
        bytes: The bytes of the tokens scored, as UTF-8.
        words: The words of the whole text, line ends counted, as WikiText counts.
        chunk: ``C`` of the model; None if it has no chunks.
        merges: How many merges of states were made; None if it has no chunks.
    """

    reading: Reading
    form: Form
    length: int | None
    nats: Float64[np.ndarray, " tokens"]
    places: Int64[np.ndarray, " tokens"]
    articles: Int64[np.ndarray, " tokens"]
    bytes: int
    words: int
    chunk: int | None
    merges: int | None

    @property
    def tokens(self) -> int:
        """How many tokens were scored."""
        return len(self.nats)

    @cached_property
    def loss(self) -> float:
        """The mean loss of a token, in nats; the logarithm of the perplexity."""
        return float(self.nats.mean())

    @property
    def perplexity(self) -> float:
        """The perplexity over all tokens."""
        return _exp(self.loss)

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """A 95 % interval of the perplexity, by bootstrap over articles; None of a single article."""
        counts = np.bincount(self.articles)
        totals = np.bincount(self.articles, weights=self.nats)
        found = bootstrap(totals[counts > 0], counts[counts > 0])
        return found and (_exp(found[0]), _exp(found[1]))

    @property
    def bits_per_byte(self) -> float:
        """Bits for each byte of the tokens scored."""
        return float(self.nats.sum()) / math.log(2) / self.bytes

    @property
    def word_perplexity(self) -> float | None:
        """The perplexity of a word, whatever tokens it is made of; None of a text without words."""
        return _exp(float(self.nats.sum()) / self.words) if self.words else None

    @property
    def authors_subset_perplexity(self) -> float | None:
        """The perplexity over the tokens that the authors of the Transformer-PSM score.

        Their code neither trains on nor scores the first token of a chunk or of a window: here, a token whose own
        place, one after that of the output, is a multiple of ``C``, or a window's end. What is left out is what has
        the least context in its chunk, so compare this only with itself. None without chunks, or if nothing is left.
        """
        if self.chunk is None:
            return None
        own = self.places + 1
        kept = (own % self.chunk != 0) & (own != self.length)
        return _exp(float(self.nats[kept].mean())) if kept.any() else None

    @property
    def merged_share(self) -> float | None:
        """The share of tokens whose output read a state that a merge has gone into; None without chunks.

        The first chunk reads no state and the second reads a leaf, so it is the share from the third chunk on.
        """
        return None if self.chunk is None else float((self.places // self.chunk >= 2).mean())

    @cached_property
    def positions(self) -> list[Bucket]:
        """The loss by the place of the output in its window or article: 0-63, 64-127, 128-255 and so on."""
        # The exponent of place / BUCKET, as frexp counts it, is 1 from one BUCKET on, 2 from two on, and so on.
        numbers = np.frexp(self.places / BUCKET)[1].clip(0)
        counts, totals = np.bincount(numbers), np.bincount(numbers, weights=self.nats)
        return [
            Bucket(
                first=BUCKET << i >> 1 if i else 0,
                last=(BUCKET << i) - 1,
                tokens=int(counts[i]),
                loss=float(totals[i] / counts[i]),
            )
            for i in np.flatnonzero(counts).tolist()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Write the figures as JSON takes them; None stands for one that there is not, or that is too large."""
        figures = {
            "perplexity": self.perplexity,
            "bits_per_byte": self.bits_per_byte,
            "word_perplexity": self.word_perplexity,
            "authors_subset_perplexity": self.authors_subset_perplexity,
        }
        interval = self.interval
        return {
            "reading": self.reading,
            "form": self.form,
            "length": self.length,
            "chunk": self.chunk,
            "tokens": self.tokens,
            "bytes": self.bytes,
            "words": self.words,
            "loss": self.loss,
            **{name: finite(value) for name, value in figures.items()},
            "interval": interval and [finite(end) for end in interval],
            "merges": self.merges,
            "merged_share": self.merged_share,
            "positions": [vars(bucket) for bucket in self.positions],
        }


def _exp(nats: float) -> float:
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf


def finite(value: float | None) -> float | None:
    """Return a number as JSON takes it: None instead of one that is not finite."""
    return value if value is not None and math.isfinite(value) else None
