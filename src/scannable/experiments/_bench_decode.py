"""What a token costs to decode: steps in place of a PSM beside a full-attention decoder at its best, and others."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Literal

import torch
from torch import Tensor

from scannable.experiments._bench_decode_check import stream_after, verified
from scannable.experiments._bench_decode_config import BenchDecodeConfig
from scannable.experiments._bench_decode_peer import FullStepper, fastest_attention, timed
from scannable.experiments._bench_decode_shapes import affine, decoder, psm
from scannable.experiments._latency import latencies, summary
from scannable.experiments._measure import environment
from scannable.models import ModelConfig, build
from scannable.models._stepper import stepper
from scannable.models._stepper_base import Stepper
from scannable.models._stepper_graph import Programs

Progress = Callable[[str], None]
WARM_UP = 10
"""Steps that are verified before any are timed."""


def bench_decode(config: BenchDecodeConfig, *, progress: Progress | None = None) -> dict[str, Any]:
    """Verify steps in place against the value form, then time them; on a GPU they are captured graphs.

    Args:
        config: What to measure.
        progress: Called with a short sentence before every measurement.

    Returns:
        ``rows``: for each model, batch and context (None where it makes no difference) the ``median``, ``p99``,
        ``p999`` and ``mean`` of seconds a step, ``tokens_per_second`` from the mean, ``state_bytes`` and
        ``weight_bytes``; for the full-attention decoder also its ``attention``, the time of all that were tried, its
        ``bandwidth_share``: the bytes of weights and keys and values, divided by the median, against
        ``copy_bandwidth``, and ``attention_share``: those of keys and values, divided by the time of the attention.
        ``streams``: for each PSM the same over one long stream of so many ``tokens``, and the mean of its first and
        last thousand steps. ``machine`` and ``config`` tell where and how.

    Raises:
        RuntimeError: If logits are wrong; then nothing more is timed.
    """
    bench = _Bench(config, progress or (lambda _: None))
    bench.run()
    return {
        "bench": "decode",
        "config": asdict(config),
        "machine": environment(),
        "copy_bandwidth": bench.bandwidth,
        "rows": bench.rows,
        "streams": bench.streams,
    }


class _Bench:
    def __init__(self, config: BenchDecodeConfig, say: Progress) -> None:
        self.config, self.say = config, say
        kind = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        self.device, self.dtype = torch.device(kind), getattr(torch, config.dtype)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.rows: list[dict[str, Any]] = []
        self.streams: list[dict[str, Any]] = []
        self.bandwidth = 0.0

    def run(self) -> None:
        self.say("copy bandwidth")
        self.bandwidth = _bandwidth(self.config.copied, self.device)
        for batch in self.config.batches:
            for inference in ("concatenated", "cross"):
                self._psm(inference, batch)
            self._full(batch)
            self._constant("sliding window", decoder(self.config, 2 * self.config.chunk), batch)
            for row in ("mamba2", "gated-deltanet"):
                self._constant(row, affine(self.config, row), batch)

    def _psm(self, inference: Literal["concatenated", "cross"], batch: int) -> None:
        config, name = self.config, f"psm {inference}"
        with self._built(name, psm(config, inference), batch) as model:
            row = {"model": name, "batch": batch, "weight_bytes": _weights(model)}
            reader, made = self._stepper(model, batch, max(1, 3 * config.chunk - WARM_UP // 2))
            for context in config.contexts:
                self.say(f"{name}, batch {batch}, context {context:,}")
                reader.load(stream_after(model, self._draw(context, batch)))
                self.rows.append(row | made | {"context": context} | self._timed(reader, batch, config.steps))
            if batch == config.batches[0]:
                self.say(f"{name}, {config.stream:,} tokens")
                reader.load(stream_after(model, self._draw(config.chunk, batch)))
                self.streams.append(
                    row | {"tokens": config.stream} | self._timed(reader, batch, config.stream)
                )
            del reader

    def _full(self, batch: int) -> None:
        name = "full attention"
        with self._built(name, decoder(self.config, None), batch) as model:
            row = {"model": name, "batch": batch, "weight_bytes": _weights(model)}
            self._verify_full(model, batch)
            for context in self.config.contexts:
                self.say(f"{name}, batch {batch}, context {context:,}: attention")
                found = fastest_attention(model.stack, batch, context, self.device)
                self.say(f"{name}, batch {batch}, context {context:,}")
                begun = time.perf_counter()
                reader = FullStepper(
                    model, batch, context, found, Programs(self.device), compile=self.config.compile
                )
                made = {"setup_seconds": time.perf_counter() - begun}
                timed = self._timed(reader, batch, self.config.steps)
                moved = timed["state_bytes"] + row["weight_bytes"]
                read = timed["state_bytes"] / found.seconds[found.name]
                shares = {
                    "bandwidth_share": moved / timed["median"] / self.bandwidth,
                    "attention_share": read / self.bandwidth,
                }
                which = {"attention": found.name, "attention_seconds": found.seconds}
                self.rows.append(row | made | {"context": context} | timed | shares | which)
                del reader
                _free(self.device)

    def _constant(self, name: str, shape: ModelConfig, batch: int) -> None:
        """Time a model whose stream has one size."""
        with self._built(name, shape, batch) as model:
            row = {"model": name, "batch": batch, "context": None, "weight_bytes": _weights(model)}
            reader, made = self._stepper(model, batch, 2 * self.config.chunk)
            self.rows.append(row | made | self._timed(reader, batch, self.config.steps))
            del reader

    @contextmanager
    def _built(self, name: str, shape: ModelConfig, batch: int) -> Iterator[Any]:
        """Make a model, and give its memory back."""
        self.say(f"{name}, batch {batch}: set up and verify")
        torch.manual_seed(self.config.seed)
        with self.device:
            model: Any = build(shape, self.config.vocabulary)
        try:
            yield model.to(self.dtype).eval().requires_grad_(requires_grad=False)
        finally:
            del model
            _free(self.device)

    def _stepper(self, model: Any, batch: int, count: int) -> tuple[Stepper, dict[str, float]]:
        """Return a stepper that was verified, how far off its logits are, and how long it took to make."""
        read, more = self._draw(count, batch), self._draw(WARM_UP, batch)
        stream = stream_after(model, read)
        begun = time.perf_counter()
        reader = stepper(model, stream, compile=self.config.compile)
        seconds = time.perf_counter() - begun
        return reader, {"setup_seconds": seconds, "error": verified(reader, model, stream, read, more)}

    def _verify_full(self, model: Any, batch: int) -> None:
        """Verify a step of full attention on a short text."""
        count = 2 * self.config.chunk
        read, more = self._draw(count - 1, batch), self._draw(1, batch)
        stream = stream_after(model, read)
        reader = FullStepper(model, batch, count, None, Programs(self.device), compile=self.config.compile)
        reader.load(stream)
        verified(reader, model, stream, read, more)

    def _timed(self, reader: Stepper, batch: int, count: int) -> dict[str, float]:
        """Time consecutive steps, after those of two chunks."""
        for token in self._draw(2 * self.config.chunk, batch):
            reader.step(token)
        found = summary(latencies(reader.step, self._draw(count, batch)))
        return found | {"tokens_per_second": batch / found["mean"], "state_bytes": reader.nbytes}

    def _draw(self, count: int, batch: int) -> Tensor:
        shape = count, batch
        return torch.randint(self.config.vocabulary, shape, generator=self.generator).to(self.device)


def _bandwidth(count: int, device: torch.device) -> float:
    """Return bytes a second that a copy reads and writes together."""
    source = torch.zeros(count, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    seconds = timed(lambda: target.copy_(source), device)
    return 2 * count / seconds


def _weights(model: Any) -> int:
    """Return the bytes of weights that a step reads: all of them, since embedding and head are one."""
    return sum(x.nbytes for x in model.parameters())


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    # Compiled code is kept for every shape it has met; the shapes of one model are of no use to the next.
    torch.compiler.reset()
