"""What the affine family costs: the chunkwise form beside the loop and torch's scan, and Mamba's beside mambapy's."""

import importlib.metadata
import importlib.util
import itertools
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._higher_order_ops import associative_scan

from scannable.affine import Carry, lift, recurrence
from scannable.affine._selective import selective
from scannable.experiments._measure import environment
from scannable.experiments._timing import check_sample, in_turn, peak_bytes, speedup, threads

Run = Callable[[], list[Tensor]]
Progress = Callable[[str], None]
DECAYS = ("none", "scalar", "diagonal")
TOLERANCE = 1e-4
"""Relative, of float32 outputs, states and gradients against those of the loop, or of mambapy."""


@dataclass(frozen=True, kw_only=True)
class BenchAffineConfig:
    """What is measured by ``bench_affine``.

    Attributes:
        seed: Seed of all random tensors.
        threads: CPU threads that torch may use.
        repeats: How many times ours and the others run in turn; medians are over these.
        sample_seconds: A run is repeated within one sample until it takes about this long.
        shape: ``(B, T, H, K, V)`` of the matrix recurrences.
        scan_bytes: If torch's scan would need more memory, it is compared at a shorter length.
        mamba: ``(B, T, D, S)`` of Mamba's scan.
    """

    seed: int = 0
    threads: int = 2
    repeats: int = 5
    sample_seconds: float = 0.3
    shape: tuple[int, int, int, int, int] = (1, 4096, 4, 64, 64)
    scan_bytes: int = 12 << 30
    mamba: tuple[int, int, int, int] = (1, 4096, 512, 16)

    def __post_init__(self) -> None:
        check_sample(self.sample_seconds)
        if min(self.repeats, self.threads, *self.shape, *self.mamba) < 1:
            raise ValueError(
                f"repeats, threads and every size must be at least 1, got {self.repeats}, {self.threads}, "
                f"{self.shape} and {self.mamba}."
            )


def bench_affine(config: BenchAffineConfig, *, progress: Progress | None = None) -> dict[str, Any]:
    """Verify the fast forms of the family, then time them, forward and backward; ratios are medians over runs in turn.

    Args:
        config: What to measure.
        progress: Called with a short sentence before every measurement.

    Returns:
        ``recurrence``: for each kind of decay, with and without erasing, the chunkwise form (``seconds``), the loop
        over time (``loop_speedup``), and ``associative_scan(combine_mode="generic")`` of the lifted pairs
        (``scan_speedup``, both at ``scan_length`` tokens, less than ``T`` only where memory does not allow that).
        ``mamba``: the selective scan against mambapy's, time and peak memory; None where mambapy is not installed.
        ``machine`` and ``config`` tell where and how.

    Raises:
        RuntimeError: If an output, a state or a gradient differs; then nothing more is timed.
    """
    say = progress or (lambda _: None)
    with threads(config.threads):
        found = []
        for decay, erase in itertools.product(DECAYS, (False, True)):
            say(f"decay {decay}, {'with' if erase else 'without'} erase")
            found.append(_recurrence(config, decay, erase=erase))
        mamba = None
        if importlib.util.find_spec("mambapy") is not None:
            say("Mamba's scan")
            mamba = _mamba(config)
        return {
            "bench": "affine",
            "config": asdict(config),
            "machine": environment(),
            "recurrence": found,
            "mamba": mamba,
        }


class _Case:
    """Inputs and cotangents of one kind of recurrence, and a forward and backward pass in each form."""

    def __init__(self, config: BenchAffineConfig, decay: str, length: int, *, erase: bool) -> None:
        generator = torch.Generator().manual_seed(config.seed)
        batch, _, heads, width, values = config.shape
        draw = lambda *shape: torch.randn(batch, *shape, generator=generator)  # noqa: E731
        self.q, self.k = draw(length, heads, width), F.normalize(draw(length, heads, width), dim=-1)
        self.v, self.given = (
            draw(length, heads, values),
            (draw(length, heads, values), draw(heads, width, values)),
        )
        gates = {"none": None, "scalar": draw(length, heads), "diagonal": draw(length, heads, width)}[decay]
        self.decay = None if gates is None else F.logsigmoid(gates + 2)
        self.erase = draw(length, heads).sigmoid() if erase else None
        inputs = self.q, self.k, self.v, self.decay, self.erase
        self.inputs = [x.requires_grad_() for x in inputs if x is not None]

    def chunkwise(self) -> list[Tensor]:
        return self._ours("chunkwise")

    def loop(self) -> list[Tensor]:
        return self._ours("recurrent")

    def scan(self) -> list[Tensor]:
        action, pairs = lift(self.k, self.v, self.decay, self.erase)
        _, states = associative_scan(action.combine, pairs, 1, combine_mode="generic")
        return _with_gradients(
            ((self.q[..., None, :] @ states).squeeze(-2), states[:, -1]), self.inputs, self.given
        )

    def _ours(self, implementation: Any) -> list[Tensor]:
        found = recurrence(
            self.q, self.k, self.v, decay=self.decay, erase=self.erase, implementation=implementation
        )
        return _with_gradients(found, self.inputs, self.given)

    def verify(self, scan: Run | None = None) -> None:
        names = ["outputs", "the last state", *(f"gradient {i}" for i in range(len(self.inputs)))]
        expected = self.loop()
        _compare("the chunkwise form", names, self.chunkwise(), expected)
        if scan is not None:
            _compare("torch's scan", names, scan(), expected)


def _recurrence(config: BenchAffineConfig, decay: str, *, erase: bool) -> dict[str, Any]:
    length = config.shape[1]
    case = _Case(config, decay, length, erase=erase)
    scanned = _fitting(config, decay, erase=erase)
    same = case if scanned == length else _Case(config, decay, scanned, erase=erase)
    case.verify(case.scan if same is case else None)
    if same is not case:
        same.verify(same.scan)
    runs = [case.chunkwise, case.loop, same.scan, *([same.chunkwise] if same is not case else [])]
    ours, loop, theirs, *others = in_turn(config.sample_seconds, config.repeats, *runs)
    beside = others[0] if others else ours
    return {
        "decay": decay,
        "erase": erase,
        "shape": list(config.shape),
        "dtype": "float32",
        "seconds": statistics.median(ours),
        "loop_seconds": statistics.median(loop),
        "loop_speedup": speedup(loop, ours),
        "scan_length": scanned,
        "scan_seconds": statistics.median(theirs),
        "seconds_at_scan_length": statistics.median(beside),
        "scan_speedup": speedup(theirs, beside),
    }


def _fitting(config: BenchAffineConfig, decay: str, *, erase: bool) -> int:
    """Return the length at which torch's scan needs no more memory than allowed, from what it needs of few tokens."""
    length = config.shape[1]
    few = min(length, 64)
    needed = peak_bytes(_Case(config, decay, few, erase=erase).scan) / few
    while length > few and length * needed > config.scan_bytes:
        length //= 2
    return length


def _mamba(config: BenchAffineConfig) -> dict[str, Any]:
    from mambapy.pscan import pscan

    generator = torch.Generator().manual_seed(config.seed)
    batch, length, width, size = config.mamba
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    u, given = draw(batch, length, width), draw(batch, length, width)
    delta, rates = F.softplus(draw(batch, length, width) - 3), -draw(width, size).exp()
    enter, leave = draw(batch, length, size), draw(batch, length, size)
    inputs = [x.requires_grad_() for x in (u, delta, rates, enter, leave)]

    def ours() -> list[Tensor]:
        y = selective(u, delta, rates, enter, leave, Carry(None, None, torch.float32, None, "inputs"))
        return _with_gradients((y,), inputs, (given,))

    def theirs() -> list[Tensor]:
        gates = torch.exp(delta[..., None] * rates)
        states = pscan(gates, delta[..., None] * enter[:, :, None] * u[..., None])
        return _with_gradients(((states @ leave[..., None]).squeeze(-1),), inputs, (given,))

    names = ["outputs", *(f"gradient of {name}" for name in ("u", "delta", "A", "B", "C"))]
    _compare("Mamba's scan", names, ours(), theirs())
    seconds, their_seconds = in_turn(config.sample_seconds, config.repeats, ours, theirs)
    peak, their_peak = peak_bytes(ours), peak_bytes(theirs)
    return {
        "shape": list(config.mamba),
        "dtype": "float32",
        "seconds": statistics.median(seconds),
        "their_seconds": statistics.median(their_seconds),
        "speedup": speedup(their_seconds, seconds),
        "peak_bytes": peak,
        "their_peak_bytes": their_peak,
        "memory_ratio": peak / their_peak,
        "mambapy": importlib.metadata.version("mambapy"),
    }


def _with_gradients(
    outputs: tuple[Tensor, ...], inputs: list[Tensor], given: tuple[Tensor, ...]
) -> list[Tensor]:
    return [*outputs, *torch.autograd.grad(outputs, inputs, given)]


def _compare(form: str, names: list[str], found: list[Tensor], expected: list[Tensor]) -> None:
    for name, got, want in zip(names, found, expected, strict=True):
        error = (got - want).norm() / want.norm()
        if not error <= TOLERANCE:
            raise RuntimeError(
                f"A benchmark verifies before it times, but {name} of {form} has a relative error of {error:.1e}; "
                f"run the tests of scannable.affine first."
            )
