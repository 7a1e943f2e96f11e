"""The Transformer-PSM: softmax attention as the aggregator and as the inference module."""

from dataclasses import dataclass
from typing import Literal

from scannable.models._check import check_config
from scannable.models._head import Head
from scannable.models._prefix_scannable import PrefixScannable
from scannable.modules import (
    Codebook,
    Codes,
    CrossInference,
    TokenEncoder,
    Transformer,
    TransformerAggregator,
    TransformerInference,
)


@dataclass(frozen=True, kw_only=True)
class TransformerPSMConfig:
    """A Transformer-PSM. The authors' code: unshared blocks, a causal mask, an untied head, no codebook."""

    width: int = 128
    """Model width."""
    heads: int = 4
    """Attention heads; they divide the width."""
    chunk: int = 16
    """Tokens in a chunk, and slots in a state."""
    aggregator_layers: int = 1
    """Blocks of the aggregator."""
    inference_layers: int = 2
    """Blocks of the inference module."""
    shared: bool = False
    """Whether aggregator and inference are one stack of blocks; then both have as many layers."""
    aggregator_mask: Literal["bidirectional", "causal"] = "bidirectional"
    """What slots of the aggregator see; the paper says bidirectional, the authors' code is causal."""
    aggregator_norm: bool = True
    """Whether a norm stands last in the aggregator, as in the authors' code. Without it a merged state is the right
    state and what was read of both, which begins as nothing: a slot still has its token as it was."""
    positions: Literal["slot", "rotary", "chunk", "global"] = "slot"
    """slot: a learned vector for each slot of [left | right] and of [prefix | chunk]. rotary: the same slots, rotated.
    chunk, global: added to the token embeddings only, by offset in the chunk or by place in the text up to `limit`, as
    in the authors' earlier and later code; a left slot then looks like a right one."""
    limit: int = 1024
    """The longest text with global positions; the other kinds have no limit."""
    inference: Literal["concatenated", "cross"] = "concatenated"
    """How a chunk reads the state before it: as slots in front of its own that run through the same layers, as in the
    paper; or cross, as keys and values of every layer: nearly half of the work of these layers."""
    identity: Literal["flag", "learned"] = "flag"
    """How the first chunk knows that nothing was before: no prefix slots (the authors' flag), or learned ones."""
    tied: bool = True
    """Whether the head's weights are those of the token embedding."""
    codebook: Literal["none", "own", "tied"] = "none"
    """Snap merged states to the nearest of `codes` vectors of their own, or of the token embeddings."""
    codes: int = 1024
    """Size of a codebook of its own."""
    codebook_gradient: Literal["soft", "stop"] = "soft"
    """Through a snapped state: as of a soft mixture of codes, or none, enough with shared blocks, and faster."""
    temperature: float = 1.0
    """Softness of the soft gradient."""
    norm: float | None = None
    """Length of every token vector and code; free if left out."""
    scaled: bool = False
    """Whether token vectors are multiplied by the root of the width where they are read, though not in a tied head."""
    logit_scale: float = 1.0
    """What the head's logits are multiplied with."""
    dropout: float = 0.0
    """Share of activations dropped in training."""
    recompute: bool = False
    """Run the aggregator again in the backward pass: less memory for more time."""

    def __post_init__(self) -> None:
        check_config(self)
        if self.shared and self.aggregator_layers != self.inference_layers:
            raise ValueError(
                f"Shared blocks need as many aggregator as inference layers, got {self.aggregator_layers} and "
                f"{self.inference_layers}; make them equal, or set shared=False."
            )
        if self.shared and not self.aggregator_norm:
            raise ValueError(
                "Shared blocks end with the norm that the head needs, got aggregator_norm=False; set shared=False, or "
                "aggregator_norm=True."
            )
        if self.positions == "global" and self.limit < self.chunk:
            raise ValueError(
                f"Global positions must reach through a chunk, got limit={self.limit} and chunk={self.chunk}; raise "
                f"limit, or lower chunk."
            )
        if self.scaled and self.codebook == "tied":
            raise ValueError(
                "A tied codebook holds token vectors as they are, got scaled=True; set scaled=False, or "
                "codebook='own'."
            )


class TransformerPSM(PrefixScannable):
    """A prefix-scannable model whose aggregator and inference module are GPT-2-style stacks ([1], Section 4).

    Args:
        config: Its shape and switches.
        vocabulary: How many tokens there are.

    [1] Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918 v2.
    """

    def __init__(self, config: TransformerPSMConfig, vocabulary: int) -> None:
        def stack(layers: int, *, norm: bool = True) -> Transformer:
            return Transformer(
                config.width,
                config.heads,
                layers,
                positions=within,
                slots=2 * config.chunk,
                dropout=config.dropout,
                norm=norm,
            )

        added: Literal["none", "chunk", "global"] = "none"
        within: Literal["absolute", "rotary", "none"] = (
            "rotary" if config.positions == "rotary" else "absolute"
        )
        if config.positions in ("chunk", "global"):
            added, within = config.positions, "none"
        limit = config.chunk if added == "chunk" else config.limit
        encoder = TokenEncoder(
            vocabulary, config.width, positions=added, limit=limit, norm=config.norm, scaled=config.scaled
        )
        blocks = stack(config.inference_layers)
        learned = config.identity == "learned"
        aggregator: TransformerAggregator | Codebook = TransformerAggregator(
            blocks if config.shared else stack(config.aggregator_layers, norm=config.aggregator_norm),
            causal=config.aggregator_mask == "causal",
            learned_identity=config.chunk if learned else None,
        )
        if config.codebook != "none":
            codes = encoder.tokens
            if config.codebook == "own":
                codes = Codes(config.codes, config.width, norm=config.norm)
            aggregator = Codebook(
                aggregator, codes, gradient=config.codebook_gradient, temperature=config.temperature
            )
        read = CrossInference if config.inference == "cross" else TransformerInference
        super().__init__(
            encoder,
            aggregator,
            read(encoder, blocks, prefix_slots=config.chunk, reads_identity=learned),
            head=Head(encoder.tokens, tied=config.tied, scale=config.logit_scale),
            chunk=config.chunk,
            recompute=config.recompute,
        )
        self.config = config
