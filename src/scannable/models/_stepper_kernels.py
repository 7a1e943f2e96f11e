# ruff: noqa: ANN001, ANN202  (what a kernel takes is the compiler's business)
"""Kernels for one token: maps with all that is around them, and attention that also rotates and writes its slot.

At one token a step is a chain of some sixty kernels that wait for one another, not a matter of arithmetic: so each does
as much as it can without waiting for others, and asks for its weights before it looks at what it is given.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton  # pyrefly: ignore[missing-import]
import triton.language as tl  # pyrefly: ignore[missing-import]
from torch import Tensor, nn

GPU = torch.cuda.is_available()


def _configs(names: tuple[str, ...], choices: list[tuple[int, ...]]) -> list[Any]:
    """Return what is tried on a GPU; where kernels are interpreted, there is no choice."""
    return [
        triton.Config(
            dict(zip(names, sizes, strict=False)),
            num_warps=sizes[len(names)],
            num_stages=sizes[len(names) + 1],
        )
        for sizes in (choices if GPU else choices[:1])
    ]


@triton.jit
def _finish(y, bias, add, columns, inside, at, BIAS: tl.constexpr, GELU: tl.constexpr, ADD: tl.constexpr):
    if BIAS:
        y += tl.load(bias + columns, mask=columns < inside, other=0.0).to(tl.float32)
    if GELU:
        y *= tl.sigmoid(1.5957691216057308 * (y + 0.044715 * y * y * y))
    if ADD:
        y += tl.load(add + at, mask=columns < inside, other=0.0).to(tl.float32)
    return y


@triton.autotune(
    _configs(
        ("BLOCK_N",),
        [
            (4, 4, 1),
            (1, 2, 1),
            (1, 4, 1),
            (2, 2, 1),
            (2, 4, 1),
            (2, 8, 1),
            (4, 8, 1),
            (8, 4, 1),
            (8, 8, 1),
            (16, 8, 1),
        ],
    ),
    key=["N", "K", "NORM"],
)
@triton.jit
def _row(
    x, gain, shift, weight, bias, add, out, eps, N,
    K: tl.constexpr, WIDE: tl.constexpr, NORM: tl.constexpr, BIAS: tl.constexpr, GELU: tl.constexpr,
    ADD: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Map one row; ``WIDE`` is the power of two that holds ``K``."""
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, WIDE)
    real = inner < K
    w = tl.load(
        weight + columns[:, None].to(tl.int64) * K + inner[None, :],
        mask=(columns < N)[:, None] & real[None, :],
        other=0.0,
    )
    row = tl.load(x + inner, mask=real, other=0.0).to(tl.float32)
    if NORM:
        row = tl.where(real, row - tl.sum(row, 0) / K, 0.0)
        row *= tl.rsqrt(tl.sum(row * row, 0) / K + eps)
        row = row * tl.load(gain + inner, mask=real, other=0.0).to(tl.float32)
        row += tl.load(shift + inner, mask=real, other=0.0).to(tl.float32)
    y = tl.sum(w.to(tl.float32) * row[None, :], 1)
    y = _finish(y, bias, add, columns, N, columns, BIAS, GELU, ADD)
    tl.store(out + columns, y.to(out.dtype.element_ty), mask=columns < N)


@triton.autotune(
    _configs(
        ("BLOCK_M", "BLOCK_N", "BLOCK_K"),
        [
            (32, 16, 128, 4, 4), (32, 16, 256, 4, 3), (16, 16, 256, 4, 3), (16, 16, 256, 2, 4), (32, 32, 128, 4, 4),
            (32, 16, 128, 2, 5), (32, 32, 256, 4, 3), (16, 32, 128, 4, 4), (32, 64, 128, 4, 4), (32, 128, 64, 4, 4),
        ],
    ),
    key=["M", "N", "K", "NORM"],
)  # fmt: skip
@triton.jit
def _rows(
    x, gain, shift, weight, bias, add, out, eps, M, N,
    K: tl.constexpr, PRECISION: tl.constexpr, NORM: tl.constexpr, BIAS: tl.constexpr, GELU: tl.constexpr,
    ADD: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Map some rows."""
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    rows = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    inner = tl.arange(0, BLOCK_K)
    given = x + rows[:, None] * K + inner[None, :]
    weights = weight + columns[None, :].to(tl.int64) * K + inner[:, None]
    mean = tl.zeros([BLOCK_M], tl.float32)
    scale = tl.zeros([BLOCK_M], tl.float32)
    if NORM:
        for k in range(0, K, BLOCK_K):
            part = tl.load(given + k, mask=(rows < M)[:, None] & (inner + k < K)[None, :], other=0.0)
            mean += tl.sum(part.to(tl.float32), 1)
        mean /= K
        for k in range(0, K, BLOCK_K):
            part = tl.load(given + k, mask=(rows < M)[:, None] & (inner + k < K)[None, :], other=0.0)
            part = tl.where((inner + k < K)[None, :], part.to(tl.float32) - mean[:, None], 0.0)
            scale += tl.sum(part * part, 1)
        scale = tl.rsqrt(scale / K + eps)
    y = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for k in range(0, K, BLOCK_K):
        w = tl.load(weights + k, mask=(columns < N)[None, :] & (inner + k < K)[:, None], other=0.0)
        part = tl.load(given + k, mask=(rows < M)[:, None] & (inner + k < K)[None, :], other=0.0)
        if NORM:
            wide = (part.to(tl.float32) - mean[:, None]) * scale[:, None]
            wide *= tl.load(gain + k + inner, mask=inner + k < K, other=0.0).to(tl.float32)[None, :]
            wide += tl.load(shift + k + inner, mask=inner + k < K, other=0.0).to(tl.float32)[None, :]
            part = wide.to(w.dtype)
        y = tl.dot(part, w, y, input_precision=PRECISION)
    at = rows[:, None].to(tl.int64) * N + columns[None, :]
    # Rows beyond the last are read as the last one's, and not written.
    some = tl.minimum(rows, M - 1)[:, None].to(tl.int64) * N + columns[None, :]
    y = _finish(y, bias, add, columns[None, :], N, some, BIAS, GELU, ADD)
    tl.store(out + at, y.to(out.dtype.element_ty), mask=(rows < M)[:, None] & (columns < N)[None, :])


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    norm: nn.LayerNorm | None = None,
    gelu: bool = False,
    add: Tensor | None = None,
) -> Tensor:
    """Map ``(B, D)`` to ``(B, E)`` as ``_stepper_recipe.Map`` does."""
    rows, inner = x.shape
    columns = weight.shape[0]
    out = x.new_empty(rows, columns)
    gain, shift, eps = (x, x, 0.0) if norm is None else (norm.weight, norm.bias, norm.eps)
    pointers = x, gain, shift, weight, x if bias is None else bias, x if add is None else add, out, eps
    switches = {"NORM": norm is not None, "BIAS": bias is not None, "GELU": gelu, "ADD": add is not None}
    if rows == 1:
        grid = lambda sizes: (-(-columns // sizes["BLOCK_N"]),)  # noqa: E731
        _row[grid](*pointers, columns, K=inner, WIDE=1 << (inner - 1).bit_length(), **switches)
    else:
        precision = "ieee" if x.dtype == torch.float32 else "tf32"
        grid = lambda sizes: (-(-columns // sizes["BLOCK_N"]), -(-rows // sizes["BLOCK_M"]))  # noqa: E731
        _rows[grid](*pointers, rows, columns, K=inner, PRECISION=precision, **switches)
    return out


@triton.jit
def _turned(row, channel, K: tl.constexpr, cos, sin):
    """Rotate a head's vector: the other channel of a pair is half a head away."""
    there = tl.load(row + (channel + K // 2) % K).to(tl.float32)
    return tl.load(row + channel).to(tl.float32) * cos + there * sin


@triton.autotune(
    _configs(
        ("BLOCK_S",),
        [(64, 4, 2), (32, 4, 3), (64, 8, 2), (128, 4, 2), (128, 8, 2), (256, 8, 1), (512, 16, 1)],
    ),
    key=["PAIRS", "SLOTS", "PART"],
)
@triton.jit
def _attend(
    qkv, kept, rotation, place, bias, out, weight, scale, PAIRS, SLOTS,
    HEADS: tl.constexpr, K: tl.constexpr, ROTARY: tl.constexpr, MASKED: tl.constexpr, SPLIT: tl.constexpr,
    PART: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    """Read one head's slots ``PART * split`` and on; the first part also writes and reads the new slot."""
    pair, split = tl.program_id(0), tl.program_id(1)
    channel = tl.arange(0, K)
    slot = tl.load(place)
    row = qkv + (pair // HEADS) * 3 * HEADS * K + (pair % HEADS) * K
    if ROTARY:
        cos = tl.load(rotation + channel % (K // 2)).to(tl.float32)
        sin = tl.load(rotation + K // 2 + channel % (K // 2)).to(tl.float32)
        sin = tl.where(channel < K // 2, -sin, sin)
        q = _turned(row, channel, K, cos, sin)
        k = _turned(row + HEADS * K, channel, K, cos, sin)
    else:
        q = tl.load(row + channel).to(tl.float32)
        k = tl.load(row + HEADS * K + channel).to(tl.float32)
    kind = kept.dtype.element_ty
    q = q.to(kind).to(tl.float32) * scale
    v = tl.load(row + 2 * HEADS * K + channel)
    keys = kept + pair.to(tl.int64) * SLOTS * K
    values = kept + (pair + PAIRS).to(tl.int64) * SLOTS * K
    mine = split == 0
    own = (channel < K) & mine
    tl.store(keys + slot * K + channel, k.to(kind), mask=own)
    tl.store(values + slot * K + channel, v, mask=own)
    top = tl.where(mine, tl.sum(q * k.to(kind).to(tl.float32), 0), -1e30)
    total = tl.where(mine, 1.0, 0.0)
    read = tl.where(own, v.to(tl.float32), 0.0)
    end = tl.minimum(split * PART + PART, SLOTS)
    for first in range(0, PART, BLOCK_S):
        places = split * PART + first + tl.arange(0, BLOCK_S)
        seen = (places < end) & (places != slot)
        if MASKED:
            seen = seen & (tl.load(bias + places, mask=places < end, other=-1.0).to(tl.float32) == 0.0)
        at = places[:, None] * K + channel[None, :]
        some = tl.load(keys + at, mask=seen[:, None], other=0.0)
        more = tl.load(values + at, mask=seen[:, None], other=0.0)
        score = tl.where(seen, tl.sum(some.to(tl.float32) * q[None, :], 1), -float("inf"))
        higher = tl.maximum(top, tl.max(score, 0))
        share = tl.exp(score - higher)
        fall = tl.exp(top - higher)
        total = total * fall + tl.sum(share, 0)
        read = read * fall + tl.sum(share[:, None] * more.to(tl.float32), 0)
        top = higher
    read = read / tl.where(total > 0.0, total, 1.0)
    tl.store(out + (split * PAIRS + pair) * K + channel, read.to(out.dtype.element_ty))
    if SPLIT:
        tl.store(weight + split * PAIRS + pair, tl.where(total > 0.0, top + tl.log(total), -1e30))


@triton.jit
def _join(parts, weight, out, SPLITS, PAIRS, K: tl.constexpr, WIDE: tl.constexpr):
    """Weigh the parts of one head."""
    pair = tl.program_id(0)
    split, channel = tl.arange(0, WIDE), tl.arange(0, K)
    known = split < SPLITS
    share = tl.load(weight + split * PAIRS + pair, mask=known, other=-1e30)
    share = tl.where(known, tl.exp(share - tl.max(share, 0)), 0.0)
    at = (split[:, None] * PAIRS + pair) * K + channel[None, :]
    part = tl.load(parts + at, mask=known[:, None], other=0.0)
    read = tl.sum(part * share[:, None], 0) / tl.sum(share, 0)
    tl.store(out + pair * K + channel, read.to(out.dtype.element_ty))


@dataclass(frozen=True)
class Attend:
    """Attention that rotates, writes a slot and reads all, as ``_stepper_recipe.WriteAndRead`` does.

    A head's width must be a power of two.
    """

    splits: int = 1
    """Parts of the slots that are read side by side."""

    def __call__(
        self, qkv: Tensor, kept: Tensor, rotation: Tensor | None, place: Tensor, bias: Tensor | None
    ) -> Tensor:
        _, batch, heads, slots, size = kept.shape
        pairs, split = batch * heads, self.splits > 1
        out = qkv.new_empty(batch, heads * size)
        parts = qkv.new_empty(self.splits, pairs, size, dtype=torch.float32) if split else out
        weight = qkv.new_empty(self.splits, pairs, dtype=torch.float32) if split else out
        _attend[(pairs, self.splits)](
            qkv, kept, qkv if rotation is None else rotation, place, qkv if bias is None else bias, parts, weight,
            size**-0.5, pairs, slots,
            HEADS=heads, K=size, ROTARY=rotation is not None, MASKED=bias is not None, SPLIT=split,
            PART=-(-slots // self.splits),
        )  # fmt: skip
        if split:
            wide = 1 << (self.splits - 1).bit_length()
            _join[(pairs,)](parts, weight, out, self.splits, pairs, K=size, WIDE=wide)
        return out
