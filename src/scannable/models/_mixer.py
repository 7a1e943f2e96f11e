"""A prefix-scannable model as a layer: vectors in, vectors out."""

from scannable.models._check import check_chunk
from scannable.models._prefix_scannable import PrefixScannable
from scannable.modules import Transformer, TransformerAggregator, TransformerInference, VectorEncoder
from scannable.scans import Aggregator


class PrefixScannableMixer(PrefixScannable):
    """Mix ``(B, T, D) -> (B, T, D)`` along ``T``, causally; a drop-in for an attention layer.

    It streams like any ``PrefixScannable``: ``start``, ``prefill``, ``step``. Norms and residual connections around
    it are its user's.

    Args:
        width: ``D``.
        heads: Attention heads inside a chunk and, unless there is an aggregator, between states.
        chunk: ``C``, vectors in a chunk.
        layers: Blocks of the inference module.
        aggregator: Merges states ``(R, C, D)``; a ``TransformerAggregator`` of one layer if left out.
        dropout: The share of activations dropped in training.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int = 4,
        chunk: int = 16,
        layers: int = 1,
        aggregator: Aggregator | None = None,
        dropout: float = 0.0,
    ) -> None:
        def stack(layers: int) -> Transformer:
            return Transformer(width, heads, layers, slots=2 * chunk, dropout=dropout)

        check_chunk(chunk)
        encoder = VectorEncoder()
        inference = TransformerInference(encoder, stack(layers), prefix_slots=chunk)
        merge = TransformerAggregator(stack(1)) if aggregator is None else aggregator
        super().__init__(encoder, merge, inference, chunk=chunk, token_shape=(width,))
