# ruff: noqa: ANN001, ANN202  (what a kernel takes is the compiler's business)
"""Kernels for one token: a map with all that is around it, and attention that also rotates and writes its slot.

At one token a step is a chain of some sixty kernels that wait for one another, not a matter of arithmetic: so each does
as much as it can without waiting for others, and asks for its weights before it looks at what it is given.
"""

from dataclasses import dataclass

import torch
import triton  # pyrefly: ignore[missing-import]
import triton.language as tl  # pyrefly: ignore[missing-import]
from torch import Tensor, nn

PROGRAMS = 264
"""How many a map is broken into at least: two for each multiprocessor of an H200."""
WEIGHTS = 8192
"""How many a program holds at most."""
SLOTS = 128
"""How many are read together."""


@triton.jit
def _row(
    x, gain, shift, weight, bias, add, out, N,
    K: tl.constexpr, WIDE: tl.constexpr, EPS: tl.constexpr, NORM: tl.constexpr, BIAS: tl.constexpr, GELU: tl.constexpr,
    ADD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Map one row; ``WIDE`` is the power of two that holds ``K``."""
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inner = tl.arange(0, WIDE)
    real, inside = inner < K, columns < N
    w = tl.load(
        weight + columns[:, None].to(tl.int64) * K + inner[None, :],
        mask=inside[:, None] & real[None, :],
        other=0.0,
    )
    row = tl.load(x + inner, mask=real, other=0.0).to(tl.float32)
    if NORM:
        row = tl.where(real, row - tl.sum(row, 0) / K, 0.0)
        row *= tl.rsqrt(tl.sum(row * row, 0) / K + EPS)
        row = row * tl.load(gain + inner, mask=real, other=0.0).to(tl.float32)
        row += tl.load(shift + inner, mask=real, other=0.0).to(tl.float32)
    y = tl.sum(w.to(tl.float32) * row[None, :], 1)
    if BIAS:
        y += tl.load(bias + columns, mask=inside, other=0.0).to(tl.float32)
    if GELU:
        y *= tl.sigmoid(1.5957691216057308 * (y + 0.044715 * y * y * y))
    if ADD:
        y += tl.load(add + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + columns, y.to(out.dtype.element_ty), mask=inside)


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    norm: nn.LayerNorm | None = None,
    gelu: bool = False,
    add: Tensor | None = None,
) -> Tensor:
    """Map one row ``(1, D)`` to ``(1, E)`` as ``_stepper_work.linear`` does."""
    columns, inner = weight.shape
    out, wide, block = x.new_empty(1, columns), triton.next_power_of_2(inner), 8
    while block > 1 and (columns < PROGRAMS * block or wide * block > WEIGHTS):
        block //= 2
    gain, shift, eps = (x, x, 0.0) if norm is None else (norm.weight, norm.bias, norm.eps)
    _row[(triton.cdiv(columns, block),)](
        x, gain, shift, weight, x if bias is None else bias, x if add is None else add, out, columns,
        K=inner, WIDE=wide, EPS=eps, NORM=norm is not None, BIAS=bias is not None, GELU=gelu, ADD=add is not None,
        BLOCK=block, num_warps=4,
    )  # fmt: skip
    return out


@triton.jit
def _turned(row, channel, K: tl.constexpr, cos, sin):
    """Rotate a head's vector: the other channel of a pair is half a head away."""
    there = tl.load(row + (channel + K // 2) % K).to(tl.float32)
    return tl.load(row + channel).to(tl.float32) * cos + there * sin


@triton.jit
def _attend(
    qkv, kept, rotation, place, bias, out, weight, SLOTS,
    HEADS: tl.constexpr, K: tl.constexpr, ROTARY: tl.constexpr, MASKED: tl.constexpr, ORDERED: tl.constexpr,
    PARTS: tl.constexpr, PART: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Read one head's slots ``PART * part`` and on; the first part also writes and reads the new slot."""
    pair, part, pairs = tl.program_id(0), tl.program_id(1), tl.num_programs(0)
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
    q = q.to(kind).to(tl.float32) * K**-0.5
    v = tl.load(row + 2 * HEADS * K + channel)
    keys = kept + pair.to(tl.int64) * SLOTS * K
    values = kept + (pair + pairs).to(tl.int64) * SLOTS * K
    mine = part == 0
    own = (channel < K) & mine
    tl.store(keys + slot * K + channel, k.to(kind), mask=own)
    tl.store(values + slot * K + channel, v, mask=own)
    top = tl.where(mine, tl.sum(q * k.to(kind).to(tl.float32), 0), -1e30)
    total = tl.where(mine, 1.0, 0.0)
    read = tl.where(own, v.to(tl.float32), 0.0)
    end = tl.minimum(part * PART + PART, SLOTS)
    if ORDERED:
        end = tl.minimum(end, slot.to(tl.int32))
    for first in range(part * PART, end, BLOCK):
        places = first + tl.arange(0, BLOCK)
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
    tl.store(out + (part * pairs + pair) * K + channel, read.to(out.dtype.element_ty))
    if PARTS > 1:
        tl.store(weight + part * pairs + pair, tl.where(total > 0.0, top + tl.log(total), -1e30))


@triton.jit
def _join(read, weight, out, PARTS: tl.constexpr, WIDE: tl.constexpr, K: tl.constexpr):
    """Weigh the parts of one head; ``WIDE`` is the power of two that holds ``PARTS``."""
    pair, pairs = tl.program_id(0), tl.num_programs(0)
    part, channel = tl.arange(0, WIDE), tl.arange(0, K)
    known = part < PARTS
    share = tl.load(weight + part * pairs + pair, mask=known, other=-1e30)
    share = tl.where(known, tl.exp(share - tl.max(share, 0)), 0.0)
    at = (part[:, None] * pairs + pair) * K + channel[None, :]
    some = tl.load(read + at, mask=known[:, None], other=0.0)
    whole = tl.sum(some * share[:, None], 0) / tl.sum(share, 0)
    tl.store(out + pair * K + channel, whole.to(out.dtype.element_ty))


@dataclass(frozen=True)
class Attend:
    """Attention as ``_stepper_work.attend`` does it, for heads whose width is a power of two."""

    parts: int = 1
    """Parts of the slots that are read side by side, then weighed (arXiv 2307.08691, Section 3.1)."""

    def __call__(
        self,
        qkv: Tensor,
        kept: Tensor,
        rotation: Tensor | None,
        place: Tensor,
        bias: Tensor | None,
        *,
        ordered: bool,
    ) -> Tensor:
        _, batch, heads, slots, size = kept.shape
        pairs, part = batch * heads, triton.cdiv(slots, self.parts)
        out = qkv.new_empty(batch, heads * size)
        read = weight = out
        if self.parts > 1:
            read = out.new_empty(self.parts, pairs, size, dtype=torch.float32)
            weight = out.new_empty(self.parts, pairs, dtype=torch.float32)
        _attend[(pairs, self.parts)](
            qkv, kept, qkv if rotation is None else rotation, place, qkv if bias is None else bias, read, weight, slots,
            HEADS=heads, K=size, ROTARY=rotation is not None, MASKED=bias is not None, ORDERED=ordered,
            PARTS=self.parts, PART=part, BLOCK=min(SLOTS, triton.next_power_of_2(part)), num_warps=4, num_stages=2,
        )  # fmt: skip
        if self.parts > 1:
            wide = triton.next_power_of_2(self.parts)
            _join[(pairs,)](read, weight, out, PARTS=self.parts, WIDE=wide, K=size, num_warps=4)
        return out
