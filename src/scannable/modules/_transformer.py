"""GPT-2-style blocks in a stack that can read out part of its slots and go on from a cache."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from scannable.modules._codes import Codes

Positions = Literal["absolute", "rotary", "none"]

Cache = tuple[int, tuple[tuple[Tensor, Tensor], ...]]
"""The next slot's position, and keys and values ``(R, H, n, K)`` of every layer (no layers: no slot yet)."""


class Attention(nn.Module):
    """Multi-head self-attention over slots.

    Args:
        width: ``D``, a multiple of ``heads``.
        heads: ``H``; a head is ``K = D / H`` wide.
        rotary: Whether queries and keys are rotated by their positions.
        dropout: The share of attention weights that are dropped in training.
    """

    def __init__(self, width: int, heads: int, *, rotary: bool, dropout: float) -> None:
        super().__init__()
        self.heads, self.rotary, self.dropout = heads, rotary, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "R n D"],
        *,
        first: int,
        causal: bool,
        position: int,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Float[Tensor, "R m D"], tuple[Tensor, Tensor]]:
        """Attend from slots ``first..n`` to all ``n`` and the ``past``; also return the keys and values."""
        width = x.shape[-1]
        if first:
            weight, bias = self.qkv.weight, self.qkv.bias
            q = F.linear(x[:, first:], weight[:width], bias[:width])
            k, v = F.linear(x, weight[width:], bias[width:]).split(width, -1)
        else:
            q, k, v = self.qkv(x).split(width, -1)
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in (q, k, v))
        if self.rotary:
            q, k = rotate(q, position + first), rotate(k, position)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        queries, keys = q.shape[2], k.shape[2]
        square, mask = False, None
        if causal and queries == keys:
            square = True
        elif causal and queries > 1:
            # The last query sees every key, the one before it all but the last, and so on.
            mask = torch.ones(queries, keys, dtype=torch.bool, device=x.device).tril(keys - queries)
        read = q
        if queries:
            read = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=square, dropout_p=self.dropout * self.training
            )
        return self.out(read.transpose(1, 2).flatten(2)), (k, v)


def rotate(x: Float[Tensor, "R H n K"], position: int) -> Float[Tensor, "R H n K"]:
    """Rotate pairs of channels by angles that grow with the slot's position (arXiv 2104.09864, Section 3.2)."""
    half = x.shape[-1] // 2
    places = torch.arange(position, position + x.shape[2], device=x.device, dtype=torch.float64)
    rates = 10_000.0 ** (-torch.arange(half, device=x.device, dtype=torch.float64) / half)
    angles = places[:, None] * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.split(half, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Block(nn.Module):
    """Attention and an MLP of four times the width, each behind a norm and added to the stream.

    Args:
        width: ``D``.
        heads: Attention heads.
        rotary: Whether attention rotates by position.
        dropout: The share of attention weights, and of what either part adds, that is dropped in training.
    """

    def __init__(self, width: int, heads: int, *, rotary: bool, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, rotary=rotary, dropout=dropout)
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
        position: int,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Float[Tensor, "R m D"], tuple[Tensor, Tensor]]:
        """Return slots ``first..n`` of the block's output, and the keys and values so far."""
        read, kept = self.attention(
            self.attention_norm(x), first=first, causal=causal, position=position, past=past
        )
        x = x[:, first:] + self.drop(read)
        return x + self.drop(self.mlp(self.mlp_norm(x))), kept


class Transformer(nn.Module):
    """A stack of pre-norm blocks with a final norm, as in GPT-2, over vectors in numbered slots.

    Only the slots that are read go through the last block's queries, output and MLP. Linear maps begin with variance
    one over their inputs, those back into the residual stream divided by the number of layers, and positions with
    length one, where GPT-2 begins with a deviation of 0.02 for all.

    Args:
        width: ``D``, a multiple of ``heads`` (of ``2 * heads`` with rotary positions).
        heads: Attention heads.
        layers: Blocks, at least one.
        positions: ``"absolute"``: a learned vector for each of ``slots``; ``"rotary"``; or ``"none"``.
        slots: How many positions there are; without limit unless ``positions="absolute"``.
        dropout: The share of activations dropped in training.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        *,
        positions: Positions = "absolute",
        slots: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        multiple = 2 * heads if positions == "rotary" else heads
        if layers < 1 or heads < 1 or width % multiple:
            raise ValueError(
                f"A Transformer needs at least one layer and one head, and a width that is a multiple of "
                f"{multiple} here, got width={width}, heads={heads}, layers={layers}; change one of them."
            )
        self.heads = heads
        self.slots = Codes(slots, width) if positions == "absolute" else None
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(width, heads, rotary=positions == "rotary", dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.apply(initialise)
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "mlp.2.weight")):
                weight.data /= layers**0.5

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
        # Views would keep the queries' memory too.
        return read, (end, tuple((keys.contiguous(), values.contiguous()) for keys, values in kept))

    def blank(self, count: int) -> Cache:
        """Return some cache of ``count`` slots of one row, only to tell what caches are like; it takes no memory."""
        weight = self.norm.weight.detach()
        keys = weight.new_zeros(()).expand(1, self.heads, count, len(weight) // self.heads)
        return count, tuple((keys, keys) for _ in self.blocks) if count else ()

    def _read(self, x: Tensor, first: int, causal: bool, cache: Cache) -> tuple[Tensor, Cache]:
        position, past = cache
        end = position + x.shape[1]
        if self.slots is not None:
            if end > len(self.slots.weight):
                raise ValueError(
                    f"Learned positions end at {len(self.slots.weight)}, got a slot at {end - 1}; "
                    f"raise the limit, or use rotary or no positions, which have none."
                )
            x = x + self.slots.weight[position:end]
        x = self.drop(x)
        kept = []
        for i, block in enumerate(self.blocks):
            last = i == len(self.blocks) - 1
            x, keys_and_values = block(
                x,
                first=first if last else 0,
                causal=causal,
                position=position,
                past=past[i] if past else None,
            )
            kept.append(keys_and_values)
        return self.norm(x), (end, tuple(kept))


def initialise(module: nn.Module) -> None:
    """Draw a linear map's weights so that outputs have the scale of inputs: variance one over their number."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
