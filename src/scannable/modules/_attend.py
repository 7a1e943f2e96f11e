"""Which slots see which: softmax attention from the last slots to all of them, whole, causal or in a window."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def attend(
    q: Float[Tensor, "R n H K"],
    k: Float[Tensor, "R m H K"],
    v: Float[Tensor, "R m H K"],
    *,
    causal: bool,
    window: int | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "R n H K"]:
    """Read from the last ``n`` of ``m >= n`` slots.

    Args:
        q: Queries of the last ``n`` slots.
        k: Keys of all.
        v: Values of all.
        causal: Whether a slot sees only itself and those before it.
        window: How many of these it sees at most, itself counted; all if left out. Only with ``causal``.
        dropout: The share of attention weights that are dropped.
    """
    queries, keys = q.shape[1], k.shape[1]
    if not queries:
        return q
    if window is not None and keys > window:
        return _in_window(q, k, v, window, dropout)
    if not causal or queries == 1:
        return _softmax(q, k, v, dropout_p=dropout)
    if queries == keys:
        return _softmax(q, k, v, is_causal=True, dropout_p=dropout)
    # The last query sees every key, the one before it all but the last, and so on.
    mask = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril(keys - queries)
    return _softmax(q, k, v, attn_mask=mask, dropout_p=dropout)


def _softmax(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """Call torch, which wants heads before slots; in memory slots stay first, as the linear maps around have them."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, **options).transpose(1, 2)


def _in_window(q: Tensor, k: Tensor, v: Tensor, window: int, dropout: float) -> Tensor:
    """Go by blocks as long as the window: a query sees keys of its own block and of the one before, no others."""
    queries = q.shape[1]
    before = k.shape[1] - queries
    if before >= window:
        k, v, before = k[:, before - window + 1 :], v[:, before - window + 1 :], window - 1
    after = -queries % window
    q = _blocks(F.pad(q, (0, 0, 0, 0, 0, after)), window)
    k, v = (_blocks(F.pad(x, (0, 0, 0, 0, window - before, after)), window) for x in (k, v))
    k, v = (torch.cat([x[:, :-1], x[:, 1:]], 2) for x in (k, v))
    place = torch.arange(2 * window, device=q.device)
    distance = window + place[:window, None] - place
    mask = ((distance >= 0) & (distance < window)).expand(*q.shape[:2], 1, -1, -1).clone()
    mask[:, 0] &= place >= window - before
    # Fused kernels take no more than one dimension before the heads.
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))
    read = _softmax(q, k, v, attn_mask=mask.flatten(0, 1), dropout_p=dropout)
    return read.unflatten(0, mask.shape[:2]).flatten(1, 2)[:, :queries]


def _blocks(x: Float[Tensor, "R n H K"], window: int) -> Float[Tensor, "R blocks window H K"]:
    return x.unflatten(1, (-1, window))
