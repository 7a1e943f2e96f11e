"""What the demo measures of a trained model: proof of duality, errors at each length, and the cost of its stream."""

import math
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scannable.tasks import WordProblem
from scannable.testing import check_duality
from scannable.training import Form, evaluate

FORMS: tuple[Form, ...] = ("parallel", "streaming")
STEPS = 40
"""How many steps are timed at each length; the median counts."""


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """What is measured of the trained models."""

    multiples: tuple[int, ...] = (1, 10, 100)
    """At how many times the training length the models are compared; the last decides."""
    between: tuple[float, ...] = (0.125, 0.25, 0.5, 2.0, 5.0, 20.0, 50.0)
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
        if not all(0 < times < math.inf for times in self.between) or not math.isfinite(self.allowed):
            raise ValueError(
                f"between must be finite and above zero, and allowed finite, got "
                f"between={self.between} and allowed={self.allowed}; change them."
            )


def duality(model: Any, task: WordProblem, measure: MeasureConfig, length: int) -> dict[str, Any]:
    """Check the trained model on words of the length that decides."""
    tokens = task.batch(measure.proved, length, torch.Generator().manual_seed(measure.seed)).tokens
    return check_duality(model, tokens).to_dict()


def evaluated(
    name: str, model: nn.Module, task: WordProblem, form: Form, length: int, measure: MeasureConfig
) -> dict[str, Any]:
    """Score one model in one form at one length."""
    settings: dict[str, Any] = {"sequences": measure.sequences, "piece": measure.piece, "seed": measure.seed}
    (found,) = evaluate(model, task, [length], form=form, **settings)
    return {"model": name, **asdict(found)}


def streamed(
    model: Any, task: WordProblem, lengths: list[int], measure: MeasureConfig
) -> list[dict[str, Any]]:
    """Follow one stream: its bytes at each length, and the time of the steps there."""
    tokens = task.batch(1, lengths[-1] + STEPS, torch.Generator().manual_seed(measure.seed)).tokens
    stream, rows = model.start(1), []
    with torch.no_grad():
        for length in lengths:
            while stream.count < length:
                piece = tokens[:, stream.count : min(length, stream.count + measure.piece)]
                _, stream = model.prefill(stream, piece)
            ahead, times = stream, []
            for place in range(length, length + STEPS):
                begun = time.perf_counter()
                _, ahead = model.step(ahead, tokens[:, place])
                times.append(time.perf_counter() - begun)
            step = statistics.median(times)
            rows.append({"length": length, "bytes": stream.nbytes, "step_seconds": step})
    return rows


def environment() -> dict[str, Any]:
    """Say where and with what it was measured."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
