# ruff: noqa: ANN001, ANN202  (what a kernel takes is the compiler's business)
"""A kernel for the attention of one slot that also rotates it and writes it where it is kept."""

from dataclasses import dataclass

import torch
import triton  # pyrefly: ignore[missing-import]
import triton.language as tl  # pyrefly: ignore[missing-import]
from torch import Tensor

from scannable.models._stepper_maps import early, wait


@triton.jit
def _turned(row, channel, K: tl.constexpr, cos, sin):
    """Rotate a head's vector: the other channel of a pair is half a head away."""
    there = tl.load(row + (channel + K // 2) % K).to(tl.float32)
    return tl.load(row + channel).to(tl.float32) * cos + there * sin


@triton.jit
def _attend(
    qkv, kept, rotation, place, bias, out, weight, SLOTS,
    HEADS: tl.constexpr, K: tl.constexpr, ROTARY: tl.constexpr, MASKED: tl.constexpr, ORDERED: tl.constexpr,
    PARTS: tl.constexpr, PART: tl.constexpr, BLOCK: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Read one head's slots ``PART * part`` and on; the first part also writes and reads the new slot."""
    pair, part, pairs = tl.program_id(0), tl.program_id(1), tl.num_programs(0)
    channel = tl.arange(0, K)
    slot = tl.load(place)
    keys = kept + pair.to(tl.int64) * SLOTS * K
    values = kept + (pair + pairs).to(tl.int64) * SLOTS * K
    end = tl.minimum(part * PART + PART, SLOTS)
    if ORDERED:
        end = tl.minimum(end, slot.to(tl.int32))
    wait(EARLY)
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
    mine = part == 0
    own = (channel < K) & mine
    tl.store(keys + slot * K + channel, k.to(kind), mask=own)
    tl.store(values + slot * K + channel, v, mask=own)
    top = tl.where(mine, tl.sum(q * k.to(kind).to(tl.float32), 0), -1e30)
    total = tl.where(mine, 1.0, 0.0)
    read = tl.where(own, v.to(tl.float32), 0.0)
    for first in range(part * PART, end, BLOCK):
        places = first + tl.arange(0, BLOCK)
        seen = (places < end) & (places != slot)
        at = places[:, None] * K + channel[None, :]
        some = tl.load(keys + at, mask=seen[:, None], other=0.0)
        more = tl.load(values + at, mask=seen[:, None], other=0.0)
        if MASKED:
            seen = seen & (tl.load(bias + places, mask=places < end, other=-1.0).to(tl.float32) == 0.0)
            more = tl.where(seen[:, None], more, 0.0)
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
def _join(read, weight, out, PARTS: tl.constexpr, WIDE: tl.constexpr, K: tl.constexpr, EARLY: tl.constexpr):
    """Weigh the parts of one head; ``WIDE`` is the power of two that holds ``PARTS``."""
    wait(EARLY)
    pair, pairs = tl.program_id(0), tl.num_programs(0)
    part, channel = tl.arange(0, WIDE), tl.arange(0, K)
    known = part < PARTS
    share = tl.load(weight + part * pairs + pair, mask=known, other=-1e30)
    share = tl.where(known, tl.exp(share - tl.max(share, 0)), 0.0)
    at = (part[:, None] * pairs + pair) * K + channel[None, :]
    some = tl.load(read + at, mask=known[:, None], other=0.0)
    whole = tl.sum(some * share[:, None], 0) / tl.sum(share, 0)
    tl.store(out + pair * K + channel, whole.to(out.dtype.element_ty))


@dataclass(frozen=True, kw_only=True)
class Attend:
    """Attention as ``_stepper_work.attend`` does it, for heads whose width is a power of two."""

    parts: int = 1
    """Parts of the slots that are read side by side, then weighed (arXiv 2307.08691, Section 3.1)."""
    block: int = 128
    """Slots that a program reads together."""
    warps: int = 4
    early: bool = False
    """Whether kernels are launched before the ones in front of them have ended."""

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
            PARTS=self.parts, PART=part, BLOCK=min(self.block, triton.next_power_of_2(part)), num_warps=self.warps,
            **early(self.early),
        )  # fmt: skip
        if self.parts > 1:
            wide = triton.next_power_of_2(self.parts)
            _join[(pairs,)](
                read, weight, out, PARTS=self.parts, WIDE=wide, K=size, num_warps=4, **early(self.early)
            )
        return out
