"""The demo: train a Transformer-PSM and a decoder of its size on one task, prove the first, compare both at length."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scannable.models import DecoderConfig, TransformerPSMConfig
from scannable.tasks import WordProblem, WordProblemConfig
from scannable.testing import check_duality
from scannable.training import (
    CurriculumConfig,
    Event,
    OptimiserConfig,
    Progress,
    RunConfig,
    evaluate,
    load,
    train,
    write_json,
)
from scannable.viewer import demo_page

TASK = WordProblemConfig(group="S3", longest=16)

PSM = RunConfig(
    task=TASK,
    model=TransformerPSMConfig(
        width=128, heads=4, chunk=1, aggregator_layers=1, inference_layers=1, shared=True, codebook="tied"
    ),
    optimiser=OptimiserConfig(rate=2e-3, warmup=50),
    curriculum=CurriculumConfig(stages=(2, 4, 8), stop=True, every=50),
    steps=3000,
    time_limit=170.0,
)
"""The recipe of the demo's model: one block that both merges and predicts, its states snapped to token embeddings."""

DECODER = RunConfig(
    task=TASK,
    model=DecoderConfig(width=128, heads=4, layers=1, positions="rotary"),
    optimiser=PSM.optimiser,
    curriculum=PSM.curriculum,
    steps=PSM.steps,
    time_limit=120.0,
)
"""The baseline: the same block, the same task, batches and schedule."""


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """What is measured of the trained models."""

    multiples: tuple[int, ...] = (1, 10, 100)
    """At how many times the training length the models are compared; the last decides."""
    between: tuple[float, ...] = (0.125, 0.25, 0.5, 2, 5, 20, 50)
    """More points for the curves, in times the training length."""
    allowed: float = 0.01
    """The final-position error that the PSM may have at the last multiple."""
    sequences: int = 256
    """Words of each length."""
    piece: int = 100
    """Tokens that the streaming form reads at a time."""
    proved: int = 2
    """Words at the last multiple on which duality is checked, token by token and in pieces."""
    seed: int = 1
    """Decides the words."""

    def __post_init__(self) -> None:
        if not self.multiples or min(self.multiples) < 1 or min(self.sequences, self.piece, self.proved) < 1:
            raise ValueError(
                f"multiples, sequences, piece and proved must be at least 1, got multiples={self.multiples}, "
                f"sequences={self.sequences}, piece={self.piece} and proved={self.proved}; raise them."
            )


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Two runs on one task, and what is measured of them."""

    psm: RunConfig = PSM
    """How the Transformer-PSM is trained."""
    decoder: RunConfig = DECODER
    """How the baseline is trained."""
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    """What is measured of both."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """How far the demo is.

    Attributes:
        what: What is going on now.
        done: Which part of the whole work is done, by its expected time.
        left: The expected seconds left on two cores.
    """

    what: str
    done: float
    left: float


def demo(config: DemoConfig, folder: Path | str, report: Callable[[Step], None] | None = None) -> dict[str, Any]:
    """Do whatever is not done yet in a folder, and write ``results.json`` and ``report.html`` there.

    Runs are taken up again where they stopped, and measurements that were finished are not repeated.

    Args:
        config: The two runs and the measurements.
        folder: A new folder, or that of a demo of the same runs.
        report: Called now and then.

    Returns:
        What ``results.json`` holds. ``passed`` tells whether the PSM is right at the last multiple and its two forms are
        one function.

    Raises:
        ValueError: If the folder holds other runs.
        KeyboardInterrupt: On Ctrl-C; the same call goes on.
    """
    folder = Path(folder)
    lengths = _lengths(config)
    work = _Work(folder, config, lengths, report or (lambda step: None))
    runs = {name: _trained(name, getattr(config, name), folder / name, work) for name in ("psm", "decoder")}
    work.stamp({name: _digest(folder / name / "model.safetensors") for name in runs})
    models = {name: load(folder / name)[0].eval() for name in runs}
    task, measure = WordProblem(config.psm.task), config.measure

    duality = work.stage("duality", lambda: _duality(models["psm"], task, measure, lengths[-1]))
    evaluations = []
    for name, model in models.items():
        for form in ("parallel", "streaming"):
            for length in lengths:
                what = f"evaluation {name} {form} {length}"
                evaluations.append(work.stage(what, lambda: _evaluated(name, model, task, form, length, measure)))  # noqa: B023
    streams = [
        work.stage(f"stream {name}", lambda: _streamed(model, task, lengths, measure))  # noqa: B023
        for name, model in models.items()
    ]
    record = {
        "format": 1,
        "task": asdict(config.psm.task),
        "order": task.vocabulary,
        "lengths": {"trained": config.psm.task.longest, "compared": _compared(config), "all": lengths},
        "allowed": measure.allowed,
        "runs": runs,
        "evaluations": evaluations,
        "streams": dict(zip(models, streams, strict=True)),
        "duality": duality,
        "seconds": work.seconds(runs),
        "config": asdict(config),
        "environment": _environment(),
    }
    record |= _verdict(record)
    write_json(folder / "results.json", record)
    (folder / "report.html").write_text(demo_page(record), encoding="utf-8")
    work.finish()
    return record


class _Work:
    """Stages with their expected times; what is finished is kept in files and read back."""

    def __init__(self, folder: Path, config: DemoConfig, lengths: list[int], report: Callable[[Step], None]) -> None:
        self.folder, self.report = folder / "stages", report
        self.expected = {name: getattr(config, name).time_limit or 120.0 for name in ("psm", "decoder")}
        self.expected["duality"] = 0.03 * lengths[-1]
        for name in ("psm", "decoder"):
            for form in ("parallel", "streaming"):
                for length in lengths:
                    self.expected[f"evaluation {name} {form} {length}"] = 0.05 + 1e-5 * config.measure.sequences * length
            self.expected[f"stream {name}"] = 5.0
        self._key, self._done = repr(config.measure), 0.0

    def stamp(self, weights: dict[str, str]) -> None:
        """Tie what follows to the weights that it is measured on."""
        self._key += repr(weights)

    def stage(self, name: str, measure: Callable[[], Any]) -> Any:
        """Do a stage, or read what it gave before."""
        path = self.folder / f"{name.replace(' ', '-')}.json"
        self.at(name, 0.0)
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if kept.get("key") != self._key:
            start = time.monotonic()
            kept = {"key": self._key, "result": measure(), "seconds": time.monotonic() - start}
            path.parent.mkdir(exist_ok=True)
            write_json(path, kept)
        self.close(name)
        return kept["result"]

    def at(self, name: str, fraction: float) -> None:
        """Say how far a stage is."""
        total, done = sum(self.expected.values()), self._done + fraction * self.expected[name]
        self.report(Step(what=name, done=done / total, left=total - done))

    def close(self, name: str) -> None:
        """Count a stage as done."""
        self._done += self.expected[name]

    def finish(self) -> None:
        """Say that nothing is left."""
        self.report(Step(what="done", done=1.0, left=0.0))

    def seconds(self, runs: dict[str, Any]) -> dict[str, float]:
        """Return how long training took, and all measurements."""
        kept = [json.loads(path.read_text(encoding="utf-8"))["seconds"] for path in self.folder.glob("*.json")]
        return {name: run["seconds"] for name, run in runs.items()} | {"measurements": sum(kept)}


def _trained(name: str, config: RunConfig, folder: Path, work: _Work) -> dict[str, Any]:
    work.at(name, 0.0)

    def report(event: Event) -> None:
        if isinstance(event, Progress):
            time_part = event.seconds / config.time_limit if config.time_limit else 0.0
            work.at(name, min(1.0, max(event.step / event.steps, time_part)))

    result = train(config, folder, report=report)
    work.close(name)
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    model, _ = load(folder)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "stopped": result.stopped,
        "solved": result.solved,
        "length": result.length,
        "steps": result.step,
        "seconds": result.seconds,
        "history": [json.loads(line) for line in lines],
    }


def _duality(model: nn.Module, task: WordProblem, measure: MeasureConfig, length: int) -> dict[str, Any]:
    tokens = task.batch(measure.proved, length, torch.Generator().manual_seed(measure.seed)).tokens
    return check_duality(model, tokens).to_dict()


def _evaluated(
    name: str, model: nn.Module, task: WordProblem, form: Any, length: int, measure: MeasureConfig
) -> dict[str, Any]:
    settings: dict[str, Any] = {"sequences": measure.sequences, "piece": measure.piece, "seed": measure.seed}
    (found,) = evaluate(model, task, [length], form=form, **settings)
    return {"model": name, **asdict(found)}


def _streamed(model: Any, task: WordProblem, lengths: list[int], measure: MeasureConfig) -> list[dict[str, Any]]:
    """Follow one stream: its bytes at each length, and the time of the steps there."""
    tokens = task.batch(1, lengths[-1] + 20, torch.Generator().manual_seed(measure.seed)).tokens
    stream, rows = model.start(1), []
    with torch.no_grad():
        for length in lengths:
            while stream.count < length:
                piece = tokens[:, stream.count : min(length, stream.count + measure.piece)]
                _, stream = model.prefill(stream, piece)
            ahead, begun = stream, time.perf_counter()
            for place in range(length, length + 20):
                _, ahead = model.step(ahead, tokens[:, place])
            step = (time.perf_counter() - begun) / 20
            rows.append({"length": length, "bytes": stream.nbytes, "step_seconds": step})
    return rows


def _verdict(record: dict[str, Any]) -> dict[str, Any]:
    last = record["lengths"]["compared"][-1]
    errors = {
        f"{row['model']} {row['form']}": row["final_error"] for row in record["evaluations"] if row["length"] == last
    }
    right = max(errors["psm parallel"], errors["psm streaming"]) <= record["allowed"]
    proved = record["duality"]["passed"]
    return {"final_errors": errors, "right": right, "one_function": proved, "passed": right and proved}


def _lengths(config: DemoConfig) -> list[int]:
    trained = config.psm.task.longest
    points = {int(times * trained) for times in (*config.measure.multiples, *config.measure.between)}
    return sorted(points - {0})


def _compared(config: DemoConfig) -> list[int]:
    return sorted(times * config.psm.task.longest for times in config.measure.multiples)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _environment() -> dict[str, Any]:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
