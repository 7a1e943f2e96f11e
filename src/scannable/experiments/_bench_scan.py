"""What ``scan`` costs: beside bare calls of an attention aggregator, and against torch's own scan."""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch._higher_order_ops import associative_scan

from scannable.experiments._measure import environment
from scannable.experiments._timing import check_sample, in_turn, peak_bytes, speedup, threads
from scannable.modules import Transformer, TransformerAggregator
from scannable.scans import merges, scan

Pair = tuple[Tensor, Tensor]
Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BenchScanConfig:
    """What is measured by ``bench_scan``.

    Attributes:
        seed: Seed of all random tensors.
        threads: CPU threads that torch may use.
        repeats: How many times ours and the other run in turn; medians are over these.
        overhead_repeats: The same for the overhead, whose bare calls take seconds.
        sample_seconds: A run is repeated within one sample until it takes about this long.
        length: Chunks of the overhead measurement, ``N``.
        chunk: Slots of a chunk's state there, ``C``.
        width: Width of a slot there, ``D``.
        heads: Heads of the attention aggregator.
        layers: Layers of the attention aggregator.
        shapes: ``(B, N, D)`` of the runs against ``associative_scan``.
        memory_shapes: ``(B, N, D)`` at which peak memory is compared.
        block: Leaves of a block there, for the scan that recomputes block by block.
    """

    seed: int = 0
    threads: int = 2
    repeats: int = 15
    overhead_repeats: int = 3
    sample_seconds: float = 0.02
    length: int = 1024
    chunk: int = 16
    width: int = 256
    heads: int = 8
    layers: int = 2
    shapes: tuple[tuple[int, int, int], ...] = (
        (4, 8, 256),
        (4, 64, 256),
        (4, 512, 256),
        (4, 4096, 256),
        (4, 16384, 256),
        (1, 8, 64),
        (1, 64, 64),
        (1, 512, 64),
        (1, 1000, 64),
        (1, 4096, 64),
        (1, 65536, 64),
    )
    memory_shapes: tuple[tuple[int, int, int], ...] = ((1, 8192, 64), (4, 8192, 64))
    block: int = 256

    def __post_init__(self) -> None:
        check_sample(self.sample_seconds)
        if min(self.repeats, self.overhead_repeats, self.threads, self.block) < 1:
            raise ValueError(
                f"repeats, overhead_repeats, threads and block must be at least 1, got {self.repeats}, "
                f"{self.overhead_repeats}, {self.threads} and {self.block}."
            )
        if self.length < 2 or any(min(shape) < 1 for shape in self.shapes + self.memory_shapes):
            raise ValueError(
                f"length must be at least 2 and every (B, N, D) positive, got length={self.length} and "
                f"{self.shapes + self.memory_shapes}."
            )
        if self.width % self.heads:
            raise ValueError(
                f"width must be a multiple of heads, got width={self.width} and heads={self.heads}."
            )


def bench_scan(config: BenchScanConfig, *, progress: Progress | None = None) -> dict[str, Any]:
    """Verify that ``scan`` is right, then time it; ratios are medians over runs taken in turn.

    Args:
        config: What to measure.
        progress: Called with a short sentence before every measurement.

    Returns:
        ``overhead``: the scan with a free ``combine`` beside bare batched calls of an attention
        aggregator at the same batch sizes, forward, without gradients. ``against``: the inclusive scan of
        ``a x + b`` maps, forward and backward, against ``associative_scan(combine_mode="generic")``;
        ``speedup`` is their time over ours. ``memory``: the peak of the same runs,
        and of one that recomputes block by block, with the latter's time. ``machine`` and
        ``config`` tell where and how.

    Raises:
        RuntimeError: If an output or a gradient differs from the peer's; then nothing is timed.
    """
    say = progress or (lambda _: None)
    with threads(config.threads):
        say(f"overhead of a scan of {config.length} chunks")
        overhead = _overhead(config)
        against = []
        for shape in config.shapes:
            say(f"against associative_scan at (B, N, D) = {shape}")
            against.append(_against(config, shape))
        memory = []
        for shape in config.memory_shapes:
            say(f"peak memory at (B, N, D) = {shape}")
            memory.append(_memory(config, shape))
        return {
            "bench": "scan",
            "config": asdict(config),
            "machine": environment(),
            "overhead": overhead,
            "against": against,
            "memory": memory,
        }


class _Free:
    """An operator that costs nothing, and notes how many rows it was called with."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def combine(self, left: Tensor, right: Tensor) -> Tensor:
        self.rows.append(left.shape[0])
        return right

    def identity(self, like: Tensor) -> Tensor:
        return torch.zeros_like(like)


class _Maps:
    """Composition of maps ``x -> decay * x + shift``, elementwise; states are ``(decay, shift)``."""

    @staticmethod
    def combine(left: Pair, right: Pair) -> Pair:
        return left[0] * right[0], right[1] + right[0] * left[1]

    @staticmethod
    def identity(like: Pair) -> Pair:
        return torch.ones_like(like[0]), torch.zeros_like(like[1])


@torch.no_grad()
def _overhead(config: BenchScanConfig) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(config.seed)
    leaves = torch.randn(1, config.length, config.chunk, config.width, generator=generator)
    free = _Free()
    found = scan(free, leaves)
    _demand(torch.equal(found[:, 1:], leaves[:, :-1]) and not found[:, 0].any(), "the free scan")
    rows = list(free.rows)
    _demand(sum(rows) == merges(config.length - 1), "the number of merges")

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        stack = Transformer(config.width, config.heads, config.layers, slots=2 * config.chunk)
    aggregator = TransformerAggregator(stack).eval()
    operands = [(leaves[0, :n], leaves[0, -n:]) for n in rows]

    def bare() -> None:
        for left, right in operands:
            aggregator.combine(left, right)

    ours, theirs = in_turn(config.sample_seconds, config.overhead_repeats, lambda: scan(free, leaves), bare)
    return {
        "shape": list(leaves.shape),
        "dtype": "float32",
        "rows": rows,
        "scan_seconds": statistics.median(ours),
        "bare_seconds": statistics.median(theirs),
        "overhead": speedup(ours, theirs),
    }


def _against(config: BenchScanConfig, shape: tuple[int, int, int]) -> dict[str, Any]:
    case = _Case(config, shape)
    case.verify()
    times = in_turn(config.sample_seconds, config.repeats, case.ours, case.recomputed, case.theirs)
    ours, recomputed, theirs = times
    return {
        "shape": list(shape),
        "dtype": "float32",
        "seconds": statistics.median(ours),
        "recompute_seconds": statistics.median(recomputed),
        "their_seconds": statistics.median(theirs),
        "speedup": speedup(theirs, ours),
        "recompute_speedup": speedup(theirs, recomputed),
    }


def _memory(config: BenchScanConfig, shape: tuple[int, int, int]) -> dict[str, Any]:
    case = _Case(config, shape)
    case.verify()
    runs = case.ours, case.recomputed, case.in_blocks, case.theirs
    ours, recomputed, in_blocks, theirs = (peak_bytes(run) for run in runs)
    seconds, their_seconds = in_turn(config.sample_seconds, config.repeats, case.in_blocks, case.theirs)
    return {
        "shape": list(shape),
        "dtype": "float32",
        "peak_bytes": ours,
        "recompute_peak_bytes": recomputed,
        "blocks_peak_bytes": in_blocks,
        "their_peak_bytes": theirs,
        "outputs_and_gradients_bytes": 4 * case.leaves[0].nbytes,
        "ratio": ours / theirs,
        "recompute_ratio": recomputed / theirs,
        "blocks_ratio": in_blocks / theirs,
        "blocks_seconds": statistics.median(seconds),
        "their_seconds": statistics.median(their_seconds),
        "blocks_speedup": speedup(their_seconds, seconds),
    }


class _Case:
    """One shape's leaves and cotangents, and a forward and backward pass in each form."""

    def __init__(self, config: BenchScanConfig, shape: tuple[int, int, int]) -> None:
        generator = torch.Generator().manual_seed(config.seed)
        decay, shift, *self.cotangents = (torch.randn(shape, generator=generator) for _ in range(4))
        self.block = config.block
        self.leaves = decay.sigmoid().requires_grad_(), shift.requires_grad_()

    def ours(self) -> tuple[Tensor, ...]:
        return self._with_gradients(scan(_Maps(), self.leaves, inclusive=True))

    def recomputed(self) -> tuple[Tensor, ...]:
        return self._with_gradients(scan(_Maps(), self.leaves, inclusive=True, recompute=True))

    def in_blocks(self) -> tuple[Tensor, ...]:
        return self._with_gradients(scan(_Maps(), self.leaves, inclusive=True, recompute=self.block))

    def theirs(self) -> tuple[Tensor, ...]:
        decays, shifts = associative_scan(_Maps.combine, self.leaves, 1, combine_mode="generic")
        return self._with_gradients((decays, shifts))

    def _with_gradients(self, outputs: Pair) -> tuple[Tensor, ...]:
        return *outputs, *torch.autograd.grad(outputs, self.leaves, self.cotangents)

    def verify(self) -> None:
        names = ("decays", "shifts", "gradients of decays", "gradients of shifts")
        expected = self.theirs()
        forms = {"ours": self.ours, "ours with recompute": self.recomputed, "ours in blocks": self.in_blocks}
        for form, run in forms.items():
            for name, got, want in zip(names, run(), expected, strict=True):
                error = (got - want).norm() / want.norm()
                _demand(bool(error <= 1e-5), f"{name} of {form}, relative error {error:.1e},")


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise RuntimeError(
            f"A benchmark verifies before it times, but {what} is not what it should be; "
            f"run the tests of scannable.scans first."
        )
