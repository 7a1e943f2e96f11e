"""GPT-2-style blocks in a stack that can read out part of its slots and go on from a cache."""

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from scannable.modules._attend import attend
from scannable.modules._codes import Codes
from scannable.modules._rotary import angles, rotate

Positions = Literal["absolute", "rotary", "none"]

Cache = tuple[int, tuple[tuple[Tensor, Tensor], ...]]
"""The next slot's position, and keys and values ``(R, n, H, K)`` of every layer (no layers: no slot yet)."""


class Attention(nn.Module):
    """Multi-head self-attention over slots.

    Args:
        width: ``D``, a multiple of ``heads``.
        heads: ``H``; a head is ``K = D / H`` wide.
        window: How many slots a causal query sees, itself counted; all before it if left out.
        dropout: The share of attention weights that are dropped in training.
    """

    def __init__(self, width: int, heads: int, *, window: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.window, self.dropout = heads, window, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "R n D"],
        *,
        first: int,
        causal: bool,
        rotation: Tensor | None,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Float[Tensor, "R m D"], tuple[Tensor, Tensor]]:
        """Attend from slots ``first..n`` to all ``n`` and the ``past``; also return the keys and values to keep."""
        if first:
            width = x.shape[-1]
            q = F.linear(x[:, first:], self.qkv.weight[:width], self.qkv.bias[:width])
            q = rotate(self._by_head(q), rotation, first)
            k, v = self.remember(x, rotation)
        else:
            q, k, v = (self._by_head(y) for y in self.qkv(x).chunk(3, -1))
            q, k = rotate(q, rotation), rotate(k, rotation)
        if past is not None:
            k, v = torch.cat([past[0], k], 1), torch.cat([past[1], v], 1)
        dropout = self.dropout if self.training else 0.0
        read = attend(q, k, v, causal=causal, window=self.window, dropout=dropout)
        if self.window is not None:
            gone = max(0, k.shape[1] - self.window + 1)
            k, v = k[:, gone:], v[:, gone:]
        return self.out(read.flatten(2)), (k, v)

    def remember(self, x: Float[Tensor, "R n D"], rotation: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return keys and values ``(R, n, H, K)`` of slots that are only read."""
        width = x.shape[-1]
        k, v = F.linear(x, self.qkv.weight[width:], self.qkv.bias[width:]).chunk(2, -1)
        return rotate(self._by_head(k), rotation), self._by_head(v)

    def _by_head(self, x: Float[Tensor, "R n D"]) -> Float[Tensor, "R n H K"]:
        return x.unflatten(-1, (self.heads, -1))


class Block(nn.Module):
    """Attention and an MLP of four times the width, each behind a norm and added to the stream.

    Args:
        width: ``D``.
        heads: Attention heads.
        window: How many slots a causal query sees, itself counted; all before it if left out.
        dropout: The share of attention weights, and of what either part adds, that is dropped in training.
    """

    def __init__(self, width: int, heads: int, *, window: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, window=window, dropout=dropout)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )
        self.drop = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "R n D"],
        *,
        first: int,
        causal: bool,
        rotation: Tensor | None,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Float[Tensor, "R m D"], tuple[Tensor, Tensor]]:
        """Return slots ``first..n`` of the block's output, and the keys and values to keep."""
        read, kept = self.attention(
            self.attention_norm(x), first=first, causal=causal, rotation=rotation, past=past
        )
        x = x[:, first:] + self.drop(read)
        return x + self.drop(self.mlp(self.mlp_norm(x))), kept


class Transformer(nn.Module):
    """A stack of pre-norm blocks and a final norm, as in GPT-2, over vectors in numbered slots.

    Only the slots that are read go through the last block's queries, output and MLP. Linear maps begin with variance
    one over their inputs, those back into the residual stream divided by the number of layers, and positions with
    length one, where GPT-2 begins with a deviation of 0.02 for all.

    Args:
        width: ``D``, a multiple of ``heads`` (of ``2 * heads`` with rotary positions).
        heads: Attention heads.
        layers: Blocks, at least one.
        positions: ``"absolute"``: a learned vector for each of ``slots``; ``"rotary"``; or ``"none"``.
        slots: How many positions there are; without limit unless ``positions="absolute"``.
        window: How many slots a causal query sees, itself counted; all before it if left out.
        dropout: The share of activations dropped in training.
        norm: Whether there is a final norm; without it, what a slot reads is its input and what the blocks add, which
            begins as nothing.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        *,
        positions: Positions = "absolute",
        slots: int = 0,
        window: int | None = None,
        dropout: float = 0.0,
        norm: bool = True,
    ) -> None:
        super().__init__()
        if positions not in get_args(Positions) or (positions == "absolute" and slots < 1):
            raise ValueError(
                f"positions must be one of {get_args(Positions)}, and 'absolute' ones need at least one of `slots`, "
                f"got {positions!r} and slots={slots}; change one of them."
            )
        if window is not None and window < 1:
            raise ValueError(
                f"A window must hold at least the slot itself, got {window}; raise it, or leave it out."
            )
        multiple = 2 * heads if positions == "rotary" else heads
        if layers < 1 or heads < 1 or width % multiple:
            raise ValueError(
                f"A Transformer needs at least one layer and one head, and a width that is a multiple of "
                f"{multiple} here, got width={width}, heads={heads}, layers={layers}; change one of them."
            )
        self.width, self.heads, self.size = width, heads, width // heads
        self.rotary, self.window = positions == "rotary", window
        self.slots = Codes(slots, width) if positions == "absolute" else None
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(width, heads, window=window, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.apply(initialise)
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "mlp.2.weight")):
                weight.data *= layers**-0.5 if norm else 0.0

    def forward(
        self, x: Float[Tensor, "R n D"], *, first: int = 0, causal: bool = True, position: int = 0
    ) -> Float[Tensor, "R m D"]:
        """Return what slots ``first..n`` read; slot 0 of ``x`` has the given position."""
        return self._read(x, first, causal=causal, cache=(position, ()))[0]

    def extend(
        self, cache: Cache, x: Float[Tensor, "R n D"], *, first: int = 0
    ) -> tuple[Float[Tensor, "R m D"], Cache]:
        """Append ``n`` slots to a causal cache; return what slots ``first..n`` read, and the new cache."""
        read, (end, kept) = self._read(x, first, causal=True, cache=cache)
        # Views would keep more than they show; what a window leaves over is one, and of one row a contiguous one.
        own = torch.Tensor.contiguous if self.window is None else torch.clone
        return read, (end, tuple((own(keys), own(values)) for keys, values in kept))

    def remember(self, x: Float[Tensor, "R n D"]) -> Cache:
        """Return a cache of slots that every layer sees as they are given, normed once, and none works on."""
        placed, rotation = self._place(x, 0)
        normed = F.layer_norm(placed, placed.shape[-1:])
        blocks: Any = self.blocks
        return x.shape[1], tuple(block.attention.remember(normed, rotation) for block in blocks)

    def check(self, end: int) -> None:
        """Refuse slots beyond the learned positions.

        Raises:
            ValueError: If positions are learned and end before ``end``.
        """
        if self.slots is not None and end > len(self.slots.weight):
            raise ValueError(
                f"Learned positions end at {len(self.slots.weight)}, got a slot at {end - 1}; "
                f"read shorter texts, or train with a larger limit, or with rotary or no positions, which have none."
            )

    def blank(self, count: int) -> Cache:
        """Return some cache of ``count`` slots of one row, only to tell what caches are like; it takes no memory."""
        weight = next(self.parameters()).detach()
        slots = count if self.window is None else min(count, self.window - 1)
        keys = weight.new_zeros(()).expand(1, slots, self.heads, self.size)
        return count, tuple((keys, keys) for _ in self.blocks) if count else ()

    def _read(self, x: Tensor, first: int, causal: bool, cache: Cache) -> tuple[Tensor, Cache]:
        position, past = cache
        x, rotation = self._place(x, position)
        end, kept = position + x.shape[1], []
        for i, block in enumerate(self.blocks):
            last = i == len(self.blocks) - 1
            x, keys_and_values = block(
                x,
                first=first if last else 0,
                causal=causal,
                rotation=rotation,
                past=past[i] if past else None,
            )
            kept.append(keys_and_values)
        return self.norm(x), (end, tuple(kept))

    def _place(self, x: Tensor, position: int) -> tuple[Tensor, Tensor | None]:
        """Tell slots from ``position`` on where they are: add a vector to each, or say how far to rotate."""
        count = x.shape[1]
        self.check(position + count)
        if self.slots is not None:
            x = x + self.slots.weight[position : position + count]
        if not self.rotary:
            return self.drop(x), None
        places = torch.arange(position, position + count, device=x.device)
        return self.drop(x), angles(places, self.size, x.dtype)


def initialise(module: nn.Module) -> None:
    """Draw a linear map's weights so that outputs have the scale of inputs: variance one over their number."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def initialise_gpt2(model: nn.Module, layers: int) -> None:
    """Draw all first weights as GPT-2 does: deviation 0.02, less where layers add to the residual stream.

    Radford et al., Language Models are Unsupervised Multitask Learners, 2019, Section 2.3, and their released code.
    """
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            back = name.endswith(("out.weight", "mlp.2.weight"))
            nn.init.normal_(weight, std=0.02 / (2 * layers) ** 0.5 if back else 0.02)
