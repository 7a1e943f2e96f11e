"""How fast language models train: each row of the table in turn with the same-block decoder, in one process."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from scannable.experiments._language_rows import LANGUAGE_ROWS
from scannable.experiments._measure import environment
from scannable.models import build
from scannable.training import OptimiserConfig
from scannable.training._device import available, rounded_products
from scannable.training._distributed import ALONE
from scannable.training._optim import optimiser
from scannable.training._share import Objective, share
from scannable.training._text import next_tokens, text_loss

Progress = Callable[[str], None]
PEER = "decoder"
TOLERANCE = 0.03
"""Relative, of the compiled bfloat16 loss and its slope against those of float32."""
STRIDE = 1e-3
"""How far every weight tensor is moved along its gradient, to measure the slope."""


@dataclass(frozen=True, kw_only=True)
class BenchLanguageConfig:
    """What is measured by ``bench_language``."""

    rows: tuple[str, ...] = ("paper-64", "paper-256", "cross-64", "cross-256")
    """Models, as docs/language.md names them, each beside the decoder."""
    lengths: tuple[int, ...] = (512, 65_536)
    """Tokens that are read at once."""
    tokens: int = 65_536
    """Tokens of a step."""
    steps: int = 10
    """Steps of a sample."""
    repeats: int = 3
    """How many times all models run in turn."""
    vocabulary: int = 50_257
    """How many tokens there are."""
    seed: int = 0
    """Of weights and tokens."""
    device: str = "cuda"
    """Where to train."""
    compile: bool = True
    """Train through torch.compile."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.rows) - set(LANGUAGE_ROWS)):
            raise ValueError(f"rows must be among {list(LANGUAGE_ROWS)}, got {unknown}; leave those out.")
        if min(*self.lengths, self.tokens, self.steps, self.repeats) < 1:
            raise ValueError(
                f"lengths, tokens, steps and repeats must be at least 1, got {self.lengths}, {self.tokens}, "
                f"{self.steps} and {self.repeats}; raise them."
            )


def bench_language(config: BenchLanguageConfig, *, progress: Progress | None = None) -> dict[str, Any]:
    """Verify the compiled training step of every model, then time all of them in turn, in bfloat16.

    A step is the forward pass, the loss, the backward pass, clipping and AdamW.

    Returns:
        ``rows``: for each length and model ``tokens_per_second`` (the median of samples), its ``ratio`` to the decoder
        at that length, ``peak_bytes`` and ``parameters``, the ``setup_seconds`` of compiling, and the relative
        ``error`` of loss and slope. ``machine`` and ``config`` tell where and how.

    Raises:
        ValueError: If this machine has no such device.
        RuntimeError: If a compiled step differs from an eager one in float32; then nothing more is timed.
    """
    say, rows = progress or (lambda _: None), []
    available(config.device)
    for length in config.lengths:
        steps = {}
        for name in dict.fromkeys((PEER, *config.rows)):
            say(f"{name}, T = {length:,}: set up and verify")
            steps[name] = _Step(config, name, length)
        samples: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(config.repeats):
            for name, step in steps.items():
                say(f"{name}, T = {length:,}")
                samples[name].append(step.sample())
        speeds = {name: statistics.median(found) for name, found in samples.items()}
        rows += [
            {
                "model": name,
                "length": length,
                "tokens_per_second": speeds[name],
                "ratio": speeds[name] / speeds[PEER],
                "samples": samples[name],
                **step.facts,
            }
            for name, step in steps.items()
        ]
        steps.clear()
        gc.collect()
        torch.compiler.reset()
    return {"bench": "language", "config": asdict(config), "machine": environment(), "rows": rows}


class _Step:
    """A model that is trained on random tokens, compiled as in a run."""

    def __init__(self, config: BenchLanguageConfig, name: str, length: int) -> None:
        self.config, self.device = config, torch.device(config.device)
        torch.manual_seed(config.seed)
        self.model = build(LANGUAGE_ROWS[name].model, config.vocabulary).to(self.device)
        self.optimiser = optimiser(OptimiserConfig(), self.model)
        objective = Objective(self.model, text_loss)
        self.forward = share(objective, "replicate", ALONE, self.device, compiled=config.compile)
        rows = max(1, config.tokens // length)
        shape = rows, length + 1
        ids = torch.randint(config.vocabulary, shape, generator=torch.Generator().manual_seed(config.seed))
        self.batch = next_tokens(ids.to(self.device))
        begun = time.perf_counter()
        error = self._verify()
        self._wait()
        seconds = time.perf_counter() - begun
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self._step()
        self._wait()
        self.facts = {
            "peak_bytes": torch.cuda.max_memory_allocated(self.device)
            if self.device.type == "cuda"
            else None,
            "parameters": sum(x.numel() for x in self.model.parameters()),
            "setup_seconds": seconds,
            "error": error,
        }

    def sample(self) -> float:
        """Train for some steps; return tokens a second."""
        self._step()
        self._wait()
        begun = time.perf_counter()
        for _ in range(self.config.steps):
            self._step()
        self._wait()
        return self.config.steps * self.batch.tokens.numel() / (time.perf_counter() - begun)

    def _differentiate(self) -> Tensor:
        with rounded_products(allowed=self.device.type == "cuda"):
            with torch.autocast(self.device.type, torch.bfloat16):
                value = self.forward(self.batch)
            value.backward()
        return value.detach()

    def _step(self) -> None:
        self._differentiate()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _verify(self) -> float:
        """Return how far the compiled loss, and its slope along its own gradient, are from those in float32."""
        loss = float(self._differentiate())
        # With two chunks nothing is merged, and the aggregator has no gradient.
        weights: list[Tensor] = [x for x in self.model.parameters() if x.grad is not None]
        gradients = [x.grad for x in weights if x.grad is not None]
        directions = [x / x.norm() for x in gradients]
        slope = sum(float((x * way).sum()) for x, way in zip(gradients, directions, strict=True))
        self.optimiser.zero_grad(set_to_none=True)
        values = []
        with torch.no_grad():
            for move in (0.0, STRIDE, -2 * STRIDE):
                torch._foreach_add_(weights, directions, alpha=move)
                values.append(float(text_loss(self.model, self.batch)))
            torch._foreach_add_(weights, directions, alpha=STRIDE)
        found, expected = (loss, slope), (values[0], (values[1] - values[2]) / (2 * STRIDE))
        error = max(abs(x / y - 1) for x, y in zip(found, expected, strict=True))
        if not error <= TOLERANCE:
            raise RuntimeError(
                f"A benchmark verifies before it times, but loss and slope are {found} compiled and {expected} in "
                f"float32; run the tests of scannable.models first."
            )
        return error

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
