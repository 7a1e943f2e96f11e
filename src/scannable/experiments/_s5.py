"""Word problems over S5, trained on short words: the packaged model, and what becomes of it without each of its parts.

The setting is that of [1], Figure 3: S5, inputs from the whole group, lengths up to 18. Here answers are scored at
every place, and one length stands for all: if every product of two elements is right, every word of any length is.

[1] Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from scannable.experiments._demo import PSM
from scannable.experiments._measure import environment
from scannable.experiments._results import history, write_results
from scannable.models import TransformerPSM, TransformerPSMConfig
from scannable.tasks import PermutationGroup, WordProblem
from scannable.training import Event, WordRunConfig, evaluate, load, train

RECIPE = replace(
    PSM,
    task=replace(PSM.task, longest=18),
    curriculum=replace(PSM.curriculum, stages=(2, 4, 8, 16)),
    tokens=8192,
    steps=2500,
    device="cuda",
    draw="device",
)
"""The demo's recipe, on a GPU: one more stage, more tokens in a step, more steps."""


def _variant(**changes: Any) -> WordRunConfig:
    assert isinstance(RECIPE.model, TransformerPSMConfig)
    return replace(RECIPE, model=replace(RECIPE.model, **changes))


VARIANTS = {
    "packaged": RECIPE,
    "soft gradient through codes": _variant(codebook_gradient="soft"),
    "no codebook": _variant(codebook="none"),
    "unshared blocks, soft gradient": _variant(shared=False, codebook_gradient="soft"),
}


@dataclass(frozen=True, kw_only=True)
class S5Config:
    """What is trained and measured."""

    seed: int = 0
    """Decides weights and words; the packaged model has 0."""
    device: str = "cuda"
    """Where to train and measure."""
    steps: int = RECIPE.steps
    """Steps of every run."""
    tokens: int = 1_000_000
    """How many tokens the packaged model reads in one stream, in pieces and single steps."""
    piece: int = 4096
    """Tokens in such a piece."""
    singles: int = 16
    """Single steps after each piece."""
    sequences: int = 256
    """Words of each length in the other measurements."""

    def __post_init__(self) -> None:
        warmup = max(recipe.optimiser.warmup for recipe in VARIANTS.values())
        if self.steps < warmup:
            raise ValueError(
                f"steps must be at least {warmup}, the steps of the warm-up, got {self.steps}; raise it."
            )
        if min(self.tokens, self.piece, self.sequences) < 1 or self.singles < 0:
            raise ValueError(
                f"tokens, piece and sequences must be at least 1 and singles at least 0, got tokens={self.tokens}, "
                f"piece={self.piece}, sequences={self.sequences} and singles={self.singles}; raise them."
            )


def s5(
    config: S5Config, folder: Path | str, report: Callable[[str, Event], None] | None = None
) -> dict[str, Any]:
    """Train every variant in a folder of its own, measure it, and write ``results.json`` and ``report.html`` beside.

    Args:
        config: What to do.
        folder: Where the runs go, or where some of them are already.
        report: Called with the variant's name and what happens in its training.

    Returns:
        For each variant its size, when it solved which length, its products of two elements, its errors at 1, 10 and
        100 times the training length in both forms, and for the packaged one the million tokens.
    """
    rows = []
    for name, recipe in VARIANTS.items():
        run = replace(recipe, seed=config.seed, device=config.device, steps=config.steps)
        say = None if report is None else partial(report, name)
        place = Path(folder) / name.replace(" ", "-").replace(",", "")
        result = train(run, place, report=say)
        model, _ = load(place, device=config.device)
        solved: dict[str, int] = {}
        for event in history(place):
            if event["event"] == "check" and event["solved"]:
                solved.setdefault(str(event["length"]), event["step"])
        task = WordProblem(run.task)
        lengths = [times * run.task.longest for times in (1, 10, 100)]
        row: dict[str, Any] = {
            "variant": name,
            "parameters": sum(x.numel() for x in model.parameters()),
            "solved_at_step": solved,
            "steps": result.step,
            "seconds": result.seconds,
            "products": products(model, task.group),
            "evaluations": [
                asdict(found)
                for form in ("parallel", "streaming")
                for found in evaluate(model, task, lengths, sequences=config.sequences, form=form)
            ],
        }
        if name == "packaged":
            pieces: dict[str, Any] = {"piece": config.piece, "singles": config.singles}
            found = evaluate(model, task, [config.tokens], sequences=1, form="streaming", **pieces)
            row["stream"] = {**pieces, **asdict(found[0])}
        rows.append(row)
    record = {
        "format": 1,
        "kind": "s5",
        "config": asdict(config),
        "machine": environment(),
        "variants": rows,
    }
    write_results(Path(folder), record)
    return record


def products(model: Any, group: PermutationGroup) -> dict[str, Any]:
    """Try every product of two elements, by the aggregator and by the inference module, and every single element.

    With one token in a chunk and a codebook tied to the tokens these are all that a model ever computes, so no wrong
    one means no error at any length, as long as rounding stays under half the smallest margin.

    Args:
        model: A Transformer-PSM with ``C = 1``.
        group: What it was trained on.

    Returns:
        ``pairs`` and how many of them have ``wrong_merges`` (the merged state is not the vector of the product) and
        ``wrong_answers``; ``wrong_singles``; and the smallest ``margin`` of an answer, in logits.
    """
    assert isinstance(model, TransformerPSM)
    device = next(model.parameters()).device
    one = torch.arange(group.order, device=device)
    left, right = one.repeat_interleave(group.order), one.repeat(group.order)
    wanted = group.table.to(device).flatten()
    with torch.no_grad():
        vectors = model.encoder(one[:, None])
        merged = model.aggregator.combine(vectors[left], vectors[right])
        logits = model.head(model.inference(vectors[left], right[:, None]))[:, 0]
        single = model.head(model.inference(None, one[:, None]))[:, 0]
    right_logits = logits.gather(1, wanted[:, None])[:, 0]
    others = logits.scatter(1, wanted[:, None], -torch.inf).amax(1)
    return {
        "pairs": len(wanted),
        "wrong_merges": int((merged != vectors[wanted]).flatten(1).any(1).sum()),
        "wrong_answers": int((logits.argmax(1) != wanted).sum()),
        "wrong_singles": int((single.argmax(1) != one).sum()),
        "margin": float((right_logits - others).min()),
    }
