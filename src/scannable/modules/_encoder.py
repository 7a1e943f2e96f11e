"""Encoders: what a chunk of tokens looks like as a leaf state."""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scannable.modules._codes import Codes

Added = Literal["none", "chunk", "global"]


class TokenEncoder(nn.Module):
    """Embed each token of a chunk; the leaf has one slot for each ([1], where Enc is an embedding).

    Args:
        vocabulary: How many tokens there are.
        width: ``D``.
        positions: What is added to the embeddings. ``"none"``: nothing, positions are the business of who
            reads the slots. ``"chunk"``: a learned vector for each offset in the chunk, as in the
            authors' code until May 2025. ``"global"``: one for each place in the text, as in
            their later code; it ends a text at ``limit`` tokens.
        norm: The length of every token's vector, or None: free.
        scaled: Multiply them by the root of the width. They begin with length one, which suits a tied head, and what
            blocks add to them has that of the root ([2], Section 3.4); learned positions keep length one.
        limit: The number of learned positions: ``C`` for ``"chunk"``, the longest text for ``"global"``.

    [1] Yau et al., arXiv 2506.10918. [2] Vaswani et al., Attention Is All You Need, arXiv 1706.03762.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        *,
        positions: Added = "none",
        limit: int = 0,
        norm: float | None = None,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        if positions not in get_args(Added) or (positions != "none" and limit < 1):
            raise ValueError(
                f"positions must be one of {get_args(Added)}, and need a limit of at least 1 unless they are 'none', "
                f"got {positions!r} and limit={limit}; change one of them."
            )
        self.scale = width**0.5 if scaled else None
        self.tokens = Codes(vocabulary, width, norm=norm)
        self.places = None if positions == "none" else Codes(limit, width)
        self.absolute = positions == "global"

    def forward(
        self, tokens: Int[Tensor, "R n"], position: int | Int[Tensor, " R"] = 0
    ) -> Float[Tensor, "R n D"]:
        """Embed ``n`` tokens a row, the first of them at ``position`` (of the chunk, or of the text)."""
        check_ids(tokens, len(self.tokens.weight))
        embedded = self.tokens(tokens)
        if self.scale is not None:
            embedded = self.scale * embedded
        if self.places is None:
            return embedded
        limit = len(self.places.weight)
        start = torch.as_tensor(position, device=tokens.device).reshape(-1, 1)
        places = start + torch.arange(tokens.shape[1], device=tokens.device)
        if _seen(places):
            low, high = map(int, places.aminmax())
            if low < 0 or high >= limit:
                raise ValueError(
                    f"Learned positions end at {limit}, got tokens at {low} to {high}; "
                    f"read shorter texts, or train with a larger `limit`, or with positions that are local."
                )
        return embedded + self.places(places)


class VectorEncoder(nn.Module):
    """Take vectors as they are, for a layer inside another network: each is a slot of the leaf."""

    absolute = False

    def forward(self, vectors: Float[Tensor, "R n D"], position: int = 0) -> Float[Tensor, "R n D"]:
        """Return the vectors as they are."""
        return vectors


def check_ids(tokens: Tensor, vocabulary: int) -> None:
    """Refuse what is not a token id; values are only looked at on the CPU, where it costs nothing.

    Raises:
        TypeError: If the tokens are not 64-bit integers.
        ValueError: If one is out of range.
    """
    if tokens.dtype != torch.long:
        raise TypeError(f"Tokens must be torch.int64, got {tokens.dtype}; convert them with .long().")
    if not _seen(tokens):
        return
    low, high = map(int, tokens.aminmax())
    if low < 0 or high >= vocabulary:
        raise ValueError(
            f"Tokens must be in 0..{vocabulary - 1}, got ids from {low} to {high}; "
            f"was the text encoded for another vocabulary?"
        )


def _seen(values: Tensor) -> bool:
    """Tell whether there are values, and to look at them costs nothing; inside torch.func's transforms none can be."""
    if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    return values.device.type == "cpu" and values.numel() > 0
