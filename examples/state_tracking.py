"""Train a Transformer-PSM to multiply permutations of three things, then let it read words a hundred times as long.

One block merges states and predicts, and merged states snap to token vectors: docs/theory.md, section 12, says why
such a model is right at every length once it is right on all products of two. A run is a folder that can be resumed.
"""

import tempfile

import torch

import scannable as sc
from scannable import tasks, training

config = training.WordRunConfig(
    task=tasks.WordProblemConfig(group="S3", shortest=2, longest=16),
    model=sc.TransformerPSMConfig(
        width=64,
        chunk=1,
        inference_layers=1,
        shared=True,
        codebook="tied",
        codebook_gradient="stop",
        norm=1.0,
    ),
    optimiser=training.OptimiserConfig(rate=3e-3, warmup=20, schedule="linear"),
    curriculum=training.CurriculumConfig(stages=(2, 4, 8), threshold=0, every=25, stop=True),
    steps=500,
    tokens=512,
)


def report(event: training.Event) -> None:
    if isinstance(event, training.Check):
        print(f"step {event.step:3}: {event.final_error:6.1%} of words of {event.length:2} end wrong")


with tempfile.TemporaryDirectory() as folder:
    result = training.train(config, folder, report=report)
    model, _ = training.load(folder)
print(f"stopped after {result.step} steps: {result.stopped}")

task = tasks.WordProblem(config.task)
for form in ("parallel", "streaming"):
    for row in training.evaluate(model, task, [16, 160, 1600], sequences=32, form=form):
        kept = "" if row.stream_bytes is None else f", a stream keeps {row.stream_bytes:,} bytes"
        print(f"{form} at {row.length:5,} tokens: {row.final_error:.1%} end wrong{kept}")

sc.testing.assert_duality(model, task.batch(2, 37, torch.Generator().manual_seed(0)).tokens)
print("both forms are one function: to 1e-12 in float64, and in float32 as good as each other")
