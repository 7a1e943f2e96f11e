"""A language model of affine layers: one row of the family between norms, in a stream of constant size."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args, get_origin

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from scannable.affine import ROWS, Implementation, Layer, RowState
from scannable.affine._check import check_mask
from scannable.models._check import check_batch, check_config, check_tokens
from scannable.models._head import Head
from scannable.models._stream import Stream
from scannable.models._streaming import StreamingText
from scannable.modules import TokenEncoder, initialise
from scannable.scans._option import check_option


@dataclass(frozen=True, kw_only=True)
class AffineLanguageModelConfig:
    """A stack of layers of one row."""

    row: str = "gla"
    """Which row of the family; `scannable family` lists them."""
    width: int = 128
    """Model width."""
    layers: int = 2
    """How many there are."""
    options: dict[str, int | float | bool | str] = field(default_factory=dict)
    """What the row's layer is made with besides its width, such as heads."""
    mlp: bool = True
    """Whether an MLP of four widths follows each layer; Mamba does without."""
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
    implementation: Implementation | None = None
    """Which form runs the recurrence; the device's default if left out."""

    def __post_init__(self) -> None:
        check_config(self)
        known = row_options(self.row)
        if not isinstance(self.options, dict):
            raise TypeError(
                f"options must be a dictionary, got {self.options!r}; leave it out for the row's own."
            )
        if unknown := sorted(set(self.options) - set(known)):
            raise ValueError(
                f"options of {self.row!r} must be among {list(known)}, got {unknown}; leave those out."
            )
        for name, value in self.options.items():
            if not _fits(value, known[name].annotation):
                kind = inspect.formatannotation(known[name].annotation)
                raise TypeError(f"{name} of {self.row!r} must be of type {kind}, got {value!r}; correct it.")
        check_option("implementation", self.implementation, (None, *get_args(Implementation)))
        # A row that cannot be made says so now, before a folder is claimed for it.
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            make_layer(self)


def row_options(row: str) -> dict[str, inspect.Parameter]:
    """Return the parameters of a row's layer besides its width.

    Raises:
        ValueError: If there is no such row.
    """
    if row not in ROWS:
        raise ValueError(f"row must be one of {list(ROWS)}, got {row!r}; `scannable family` shows them.")
    return dict(list(inspect.signature(ROWS[row]).parameters.items())[1:])


def make_layer(config: AffineLanguageModelConfig) -> Layer:
    """Return a fresh layer of the config's row."""
    known = row_options(config.row)
    options = {name: float(x) if known[name].annotation is float else x for name, x in config.options.items()}
    return ROWS[config.row](config.width, **options)


def _fits(value: Any, kind: Any) -> bool:
    """Tell whether a value may stand where a parameter is annotated so; a whole number is a float too."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_args(kind):
        return any(_fits(value, one) for one in get_args(kind))
    return type(value) is kind or (kind is float and type(value) is int)


class AffineLanguageModel(StreamingText):
    """A language model whose stream has one size, however long the text.

    Args:
        config: Its shape.
        vocabulary: How many tokens there are.
    """

    compiled_by_layer = True
    """Whether training compiles layer by layer: to a compiler each is a long program, and they are alike."""

    def __init__(self, config: AffineLanguageModelConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.embed = TokenEncoder(vocabulary, config.width, norm=config.norm, scaled=config.scaled)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=1e-5)
        self.head = Head(self.embed.tokens, tied=config.tied, scale=config.logit_scale)
        self.blocks.apply(initialise)

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        *,
        offsets: Sequence[int] | Tensor | None = None,
        mask: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Read whole texts.

        Args:
            tokens: Their tokens.
            offsets: For texts packed end to end in one row (``B = 1``): where each begins, and where the last ends.
            mask: False where there is padding, on either side: any ids, which nothing reads; their logits mean nothing.

        Raises:
            TypeError: If the tokens have the wrong dtype.
            ValueError: If they have the wrong shape or device or are out of range, or offsets or mask do not fit.
        """
        return self.head(self.features(tokens, offsets=offsets, mask=mask))

    def features(
        self,
        tokens: Int[Tensor, "B T"],
        *,
        offsets: Sequence[int] | Tensor | None = None,
        mask: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Read whole texts; return what the head would read."""
        check_tokens(tokens, self._blank())
        if mask is not None:
            check_mask(mask, *tokens.shape)
            tokens = tokens.masked_fill(~mask, 0)
        return self._extend(None, self.embed(tokens), offsets=offsets, mask=mask)[0]

    def start(self, batch: int = 1) -> Stream:
        """Begin ``batch`` streams that have read nothing."""
        check_batch(batch)
        return Stream(owner=self._mark, count=0, batch=batch, cache=None)

    def _stream_like(self, count: int) -> Stream:
        """Return some stream of one text of ``count`` tokens, only to tell what streams are like."""
        stream = self.start()
        if not count:
            return stream
        token = torch.zeros(1, dtype=torch.long, device=self._blank().device)
        return replace(self.step(stream, token)[1], count=count)

    def _extend(
        self, cache: tuple[RowState, ...] | None, x: Tensor, **packing: Any
    ) -> tuple[Tensor, tuple[RowState, ...]]:
        after = []
        for i, block in enumerate(self.blocks):
            x, state = block(x, None if cache is None else cache[i], **packing)
            after.append(state)
        return self.norm(x), tuple(after)


class _Block(nn.Module):
    """A layer and an MLP, each behind a norm and added to the stream."""

    def __init__(self, config: AffineLanguageModelConfig) -> None:
        super().__init__()
        width = config.width
        self.implementation = config.implementation
        self.layer_norm = nn.RMSNorm(width, eps=1e-5)
        self.layer = make_layer(config)
        self.drop = nn.Dropout(config.dropout)
        self.mlp = (
            nn.Sequential(
                nn.RMSNorm(width, eps=1e-5),
                nn.Linear(width, 4 * width),
                nn.GELU(approximate="tanh"),
                nn.Linear(4 * width, width),
            )
            if config.mlp
            else None
        )

    def forward(self, x: Tensor, state: RowState | None, **packing: Any) -> tuple[Tensor, RowState]:
        read, state = self.layer(self.layer_norm(x), state, implementation=self.implementation, **packing)
        x = x + self.drop(read)
        return (x if self.mlp is None else x + self.drop(self.mlp(x))), state
