"""The demo: train a Transformer-PSM and a decoder of its size on one task, prove the first, compare both at length."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from scannable.experiments._measure import FORMS, MeasureConfig, duality, environment, evaluated, streamed
from scannable.experiments._results import history, write_results
from scannable.experiments._stages import Stages, Step
from scannable.models import AffineLanguageModelConfig, DecoderConfig, TransformerPSMConfig
from scannable.tasks import WordProblem, WordProblemConfig
from scannable.training import (
    CurriculumConfig,
    Event,
    OptimiserConfig,
    Progress,
    WordRunConfig,
    load,
    train,
)
from scannable.training._folder import MODEL

TASK = WordProblemConfig(group="S5", shortest=2, longest=16)

PSM = WordRunConfig(
    task=TASK,
    model=TransformerPSMConfig(
        width=96,
        heads=4,
        chunk=1,
        aggregator_layers=1,
        inference_layers=1,
        shared=True,
        codebook="tied",
        codebook_gradient="stop",
        norm=1.0,
        logit_scale=1.2,
    ),
    optimiser=OptimiserConfig(rate=4e-3, warmup=50, schedule="linear", decay=0.5, betas=(0.9, 0.98)),
    curriculum=CurriculumConfig(stages=(2, 4, 8), threshold=0.0, every=50, words=2048),
    steps=1500,
    tokens=2048,
)
"""The recipe of the demo's model: one block that both merges and predicts, its states snapped to token vectors."""

DECODER = WordRunConfig(
    task=TASK,
    model=DecoderConfig(width=72, heads=4, layers=2, positions="rotary"),
    optimiser=OptimiserConfig(rate=3e-3, warmup=50, schedule="linear", decay=0.1),
    curriculum=CurriculumConfig(stages=(), every=50, words=512),
    steps=1500,
    tokens=2048,
)
"""The baseline: as large, on the same task for as many steps, with all lengths from the start.

It would not get past the first stages of a curriculum."""

AFFINE = WordRunConfig(
    task=TASK,
    model=AffineLanguageModelConfig(width=72, layers=2),
    optimiser=OptimiserConfig(rate=3e-3, warmup=50, schedule="linear", decay=0.1),
    curriculum=CurriculumConfig(stages=(), every=50, words=512),
    steps=1500,
    tokens=2048,
)
"""A stack of affine layers in the place of the baseline; which row is an option."""

RECIPES = {"transformer-psm": PSM, "decoder": DECODER, "affine": AFFINE}
"""What is trained if nothing else is asked for, by the name of the model."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Two runs on one task, and what is measured of them."""

    psm: WordRunConfig = PSM
    """How the Transformer-PSM is trained."""
    decoder: WordRunConfig = DECODER
    """How the baseline is trained."""
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    """What is measured of both."""


def demo(
    config: DemoConfig, folder: Path | str, report: Callable[[Step], None] | None = None
) -> dict[str, Any]:
    """Do whatever is not done yet in a folder, and write ``results.json`` and ``report.html`` there.

    Runs are taken up again where they stopped, and measurements that were finished are not repeated.

    Args:
        config: The two runs and the measurements.
        folder: A new folder, or that of a demo of the same runs.
        report: Called now and then.

    Returns:
        What ``results.json`` holds. ``passed`` tells whether the PSM is right at the last multiple and its two
        forms are one function.

    Raises:
        ValueError: If the folder holds other runs.
        KeyboardInterrupt: On Ctrl-C; the same call goes on.
    """
    folder = Path(folder)
    lengths = _lengths(config)
    expected = _expected(lengths, config.measure)
    work = Stages(folder / "stages", repr(config.measure), expected, report or (lambda step: None))
    runs = {name: _trained(name, getattr(config, name), folder / name, work) for name in ("psm", "decoder")}
    work.stamp(repr({name: _digest(folder / name / MODEL) for name in runs}))
    models = {name: load(folder / name)[0] for name in runs}
    task, measure = WordProblem(config.psm.task), config.measure

    proof = work.stage("duality", partial(duality, models["psm"], task, measure, lengths[-1]))
    evaluations = [
        work.stage(
            _evaluation(name, form, length), partial(evaluated, name, model, task, form, length, measure)
        )
        for name, model in models.items()
        for form in FORMS
        for length in lengths
    ]
    streams = {
        name: work.stage(f"stream {name}", partial(streamed, model, task, lengths, measure))
        for name, model in models.items()
    }
    record = {
        "format": 1,
        "kind": "demo",
        "task": asdict(config.psm.task),
        "order": task.vocabulary,
        "lengths": {"trained": config.psm.task.longest, "compared": _compared(config), "all": lengths},
        "allowed": measure.allowed,
        "runs": runs,
        "evaluations": evaluations,
        "streams": streams,
        "duality": proof,
        "seconds": {name: run["seconds"] for name, run in runs.items()} | {"measurements": work.seconds},
        "config": asdict(config),
        "environment": environment(),
    }
    record |= _verdict(record)
    write_results(folder, record)
    work.finish()
    return record


def _trained(name: str, config: WordRunConfig, folder: Path, work: Stages) -> dict[str, Any]:
    work.at(name)

    def report(event: Event) -> None:
        if isinstance(event, Progress):
            time_part = event.seconds / config.time_limit if config.time_limit else 0.0
            work.at(name, min(1.0, max(event.step / event.steps, time_part)), event.seconds)

    result = train(config, folder, report=report)
    work.close(name)
    model, _ = load(folder)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "stopped": result.stopped,
        "solved": result.solved,
        "length": result.length,
        "steps": result.step,
        "seconds": result.seconds,
        "history": history(folder),
    }


def _verdict(record: dict[str, Any]) -> dict[str, Any]:
    last = record["lengths"]["compared"][-1]
    errors = {
        f"{row['model']} {row['form']}": row["final_error"]
        for row in record["evaluations"]
        if row["length"] == last
    }
    right = max(errors["psm parallel"], errors["psm streaming"]) <= record["allowed"]
    proved = record["duality"]["passed"]
    return {"final_errors": errors, "right": right, "one_function": proved, "passed": right and proved}


def _evaluation(name: str, form: str, length: int) -> str:
    return f"evaluation {name} {form} {length}"


def _expected(lengths: list[int], measure: MeasureConfig) -> dict[str, float]:
    """Name every stage, with the seconds that it takes on two cores or so."""
    expected = {"psm": 130.0, "decoder": 100.0, "duality": 0.03 * lengths[-1]}
    for name in ("psm", "decoder"):
        for form in FORMS:
            expected |= {_evaluation(name, form, n): 0.05 + 1e-5 * measure.sequences * n for n in lengths}
        expected[f"stream {name}"] = 5.0
    return expected


def _lengths(config: DemoConfig) -> list[int]:
    trained = config.psm.task.longest
    points = {int(times * trained) for times in (*config.measure.multiples, *config.measure.between)}
    return sorted(points - {0})


def _compared(config: DemoConfig) -> list[int]:
    return sorted(times * config.psm.task.longest for times in config.measure.multiples)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
