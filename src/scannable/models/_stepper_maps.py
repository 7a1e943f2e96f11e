# ruff: noqa: ANN001, ANN202  (what a kernel takes is the compiler's business)
"""Kernels that map the rows of one token with all that is around: norm, bias, activation and sum.

At one token a step is a chain of some sixty kernels that wait for one another, not a matter of arithmetic. So each does
as much as it can without the others; and on a GPU that lets the next kernel begin before the last one ends, each first
asks for its weights, then waits for its rows.
"""

from dataclasses import dataclass

import torch
import triton  # pyrefly: ignore[missing-import]
import triton.language as tl  # pyrefly: ignore[missing-import]
from torch import Tensor, nn

PROGRAMS = 264
"""How many a map of one row is broken into at least: two for each multiprocessor of an H200."""
WEIGHTS = 8192
"""How many a program of one row holds at most."""
LINE = 128
"""Bytes that memory is asked for at once."""


def overlaps(device: torch.device) -> bool:
    """Tell whether a kernel can be launched before the one in front of it has ended (NVIDIA's Hopper and later)."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= (9, 0)


def early(yes: bool) -> dict[str, bool]:
    """Return the options of a launch that may be early, whose kernel then has to `wait`."""
    return {"EARLY": True, "launch_pdl": True} if yes else {"EARLY": False}


@triton.jit
def wait(EARLY: tl.constexpr):
    """Wait until all that ran before has ended and can be read; only then may the next kernel be launched.

    So what a kernel reads before it waits has to be older than the kernel in front of it.
    """
    if EARLY:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()


@triton.jit
def ask(lines):
    """Have lines of memory brought into the cache, and go on."""
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; mov.u32 $0, 0;", "=r,l", [lines], dtype=tl.int32, is_pure=False, pack=1
    )


@triton.jit
def _row(
    x, gain, shift, weight, bias, add, out, N,
    K: tl.constexpr, WIDE: tl.constexpr, EPS: tl.constexpr, NORM: tl.constexpr, BIAS: tl.constexpr, GELU: tl.constexpr,
    ADD: tl.constexpr, BLOCK: tl.constexpr, EARLY: tl.constexpr,
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
    wait(EARLY)
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
        y = _gelu(y)
    if ADD:
        y += tl.load(add + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + columns, y.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _rows(
    x, gain, shift, weight, bias, add, out, B, N,
    K: tl.constexpr, LINES: tl.constexpr, WIDE: tl.constexpr, EPS: tl.constexpr, NORM: tl.constexpr, BIAS: tl.constexpr,
    GELU: tl.constexpr, ADD: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr,
    STAGES: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Map ``ROWS`` of ``B`` rows by matrix products, ``INNER`` inputs at once.

    A column's weights lie in ``LINES`` of memory; ``WIDE`` is the power of two that holds them.
    """
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inner = tl.arange(0, INNER)
    real, inside = rows < B, columns < N
    at = x + rows[:, None] * K + inner[None, :]
    weights = weight + tl.minimum(columns, N - 1)[:, None].to(tl.int64) * K
    if EARLY:
        line = tl.minimum(tl.arange(0, WIDE), LINES - 1)
        ask(weights + line[None, :] * (K // LINES))
    wait(EARLY)
    kind = out.dtype.element_ty
    mean = tl.zeros((ROWS, 1), tl.float32)
    scale = mean
    if NORM:
        total = tl.zeros((ROWS, INNER), tl.float32)
        for first in tl.static_range(0, K, INNER):
            total += tl.load(at + first, mask=real[:, None] & (first + inner < K)[None, :], other=0.0).to(
                tl.float32
            )
        mean = tl.sum(total, 1)[:, None] / K
        total = tl.zeros((ROWS, INNER), tl.float32)
        for first in tl.static_range(0, K, INNER):
            here = real[:, None] & (first + inner < K)[None, :]
            apart = tl.where(here, tl.load(at + first, mask=here, other=0.0).to(tl.float32) - mean, 0.0)
            total += apart * apart
        scale = tl.rsqrt(tl.sum(total, 1)[:, None] / K + EPS)
    y = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in tl.range(0, K, INNER, num_stages=STAGES):
        known = (first + inner < K)[None, :]
        w = tl.load(weights + first + inner[None, :], mask=inside[:, None] & known, other=0.0)
        some = tl.load(at + first, mask=real[:, None] & known, other=0.0)
        if NORM:
            g = tl.load(gain + first + inner[None, :], mask=known, other=0.0).to(tl.float32)
            s = tl.load(shift + first + inner[None, :], mask=known, other=0.0).to(tl.float32)
            some = ((some.to(tl.float32) - mean) * scale * g + s).to(kind)
        y = tl.dot(some, tl.trans(w), y, input_precision="ieee")
    if BIAS:
        y += tl.load(bias + columns, mask=inside, other=0.0).to(tl.float32)[None, :]
    if GELU:
        y = _gelu(y)
    to, there = rows[:, None] * N + columns[None, :], real[:, None] & inside[None, :]
    if ADD:
        y += tl.load(add + to, mask=there, other=0.0).to(tl.float32)
    tl.store(out + to, y.to(kind), mask=there)


@triton.jit
def _gelu(y):
    return y * tl.sigmoid(1.5957691216057308 * (y + 0.044715 * y * y * y))


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Maps as ``_stepper_work.linear`` does them."""

    early: bool = False
    """Whether kernels are launched before the ones in front of them have ended."""

    def __call__(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        norm: nn.LayerNorm | None = None,
        gelu: bool = False,
        add: Tensor | None = None,
    ) -> Tensor:
        batch, (columns, inner) = len(x), weight.shape
        out = x.new_empty(batch, columns)
        gain, shift, eps = (x, x, 0.0) if norm is None else (norm.weight, norm.bias, norm.eps)
        given = (x, gain, shift, weight, x if bias is None else bias, x if add is None else add, out)
        what = dict(
            K=inner, EPS=eps, NORM=norm is not None, BIAS=bias is not None, GELU=gelu, ADD=add is not None,
            **early(self.early),
        )  # fmt: skip
        if batch == 1:
            wide, block = triton.next_power_of_2(inner), 8
            while block > 1 and (columns < PROGRAMS * block or wide * block > WEIGHTS):
                block //= 2
            _row[(triton.cdiv(columns, block),)](*given, columns, WIDE=wide, BLOCK=block, num_warps=4, **what)
            return out
        size = _size(columns, inner)
        lines = max(1, inner * weight.element_size() // LINE)
        _rows[(triton.cdiv(columns, size["COLUMNS"]), triton.cdiv(batch, size["ROWS"]))](
            *given, batch, columns, LINES=lines, WIDE=triton.next_power_of_2(lines), **size, **what
        )
        return out


def _size(columns: int, inner: int) -> dict[str, int]:
    """Return what a program maps at once: what was fastest on an H200 for 32 rows at GPT-2's base size."""
    rows, several, many, stages = 16, 16, 256, 4
    if columns > 8 * inner:
        rows, several, many, stages = 32, 128, 64, 3
    elif columns > inner:
        several, stages = 32, 3
    elif columns == inner:
        rows, many = 32, 128
    many = min(many, max(16, triton.next_power_of_2(inner)))
    return {"ROWS": rows, "COLUMNS": several, "INNER": many, "STAGES": stages, "num_warps": 4}
