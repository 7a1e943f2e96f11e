"""Encoders: what a chunk of tokens looks like as a leaf state."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scannable.modules._transformer import initialise


class TokenEncoder(nn.Module):
    """Embed each token of a chunk; the leaf has one slot for each ([1], where Enc is an embedding).

    Args:
        vocabulary: How many tokens there are.
        width: ``D``.
        positions: What is added to the embeddings. ``"none"``: nothing, positions are the business of who
            reads the slots. ``"chunk"``: a learned vector for each offset in the chunk, as in the
            authors' code until May 2025. ``"global"``: one for each place in the text, as in
            their later code; it ends a text at ``limit`` tokens.
        limit: The number of learned positions: ``C`` for ``"chunk"``, the longest text for ``"global"``.

    [1] Yau et al., arXiv 2506.10918.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        *,
        positions: Literal["none", "chunk", "global"] = "none",
        limit: int = 0,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = None if positions == "none" else nn.Embedding(limit, width)
        self.absolute = positions == "global"
        self.apply(initialise)

    def forward(
        self, tokens: Int[Tensor, "R n"], position: int | Int[Tensor, " R"] = 0
    ) -> Float[Tensor, "R n D"]:
        """Embed ``n`` tokens a row, the first of them at ``position`` (of the chunk, or of the text)."""
        check_ids(tokens, self.tokens.num_embeddings)
        embedded = self.tokens(tokens)
        if self.places is None:
            return embedded
        limit = self.places.num_embeddings
        start = torch.as_tensor(position, device=tokens.device).reshape(-1, 1)
        places = start + torch.arange(tokens.shape[1], device=tokens.device)
        if tokens.device.type == "cpu" and places.numel() and int(places.max()) >= limit:
            raise ValueError(
                f"Learned positions end at {limit}, got a token at {int(places.max())}; "
                f"raise `limit`, or use positions that are local."
            )
        return embedded + self.places(places)


class VectorEncoder(nn.Module):
    """Take vectors as they are, for a layer inside another network: each is a slot of the leaf."""

    absolute = False

    def forward(self, vectors: Float[Tensor, "R n D"], position: int = 0) -> Float[Tensor, "R n D"]:
        return vectors


def check_ids(tokens: Tensor, vocabulary: int) -> None:
    """Refuse what is not a token id; values are only looked at on the CPU, where it costs nothing.

    Raises:
        TypeError: If the tokens are not 64-bit integers.
        ValueError: If one is out of range.
    """
    if tokens.dtype != torch.long:
        raise TypeError(f"Tokens must be torch.int64, got {tokens.dtype}; convert them with .long().")
    if tokens.device.type != "cpu" or not tokens.numel() or torch.compiler.is_compiling():
        return
    low, high = map(int, tokens.aminmax())
    if low < 0 or high >= vocabulary:
        raise ValueError(
            f"Tokens must be in 0..{vocabulary - 1}, got ids from {low} to {high}; "
            f"was the text encoded for another vocabulary?"
        )
