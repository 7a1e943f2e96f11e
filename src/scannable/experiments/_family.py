"""What the affine family costs against length: every row ``SPD(n, 1)``, beside a PSM's ``SPD(n, log n)``."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from scannable.affine import ROWS, Elementwise, lifted
from scannable.experiments._measure import environment
from scannable.models import (
    AffineLanguageModelConfig,
    DecoderConfig,
    ModelConfig,
    TransformerPSMConfig,
    build,
)
from scannable.testing import Report, check_counts
from scannable.testing._counts import fitted_exponent

VOCABULARY = 16
WORK, CONSTANT, LOGARITHMIC = 1.1, 0.01, 0.5
"""The largest exponents that pass: of work in all of them, of memory in a row, and of memory in a PSM."""


@dataclass(frozen=True, kw_only=True)
class FamilyConfig:
    """Models of one layer, and the lengths at which their costs are counted."""

    lengths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """How many tokens are read; exponents are fitted to the longer half."""
    width: int = 32
    """Model width."""
    heads: int = 4
    """Heads of the attention models; rows keep their own default."""
    chunk: int = 8
    """Tokens in a chunk of the Transformer-PSM."""
    seed: int = 0
    """Decides weights and tokens."""

    def __post_init__(self) -> None:
        if len(self.lengths) < 2 or sorted(set(self.lengths)) != list(self.lengths) or self.lengths[0] < 1:
            raise ValueError(f"lengths must be two or more that grow, from 1 on, got {self.lengths}.")
        if min(self.width, self.heads, self.chunk) < 1 or self.width % (2 * self.heads):
            raise ValueError(
                f"width, heads and chunk must be at least 1 and width a multiple of 2 * heads, got width={self.width}, "
                f"heads={self.heads} and chunk={self.chunk}; change one of them."
            )


def family_counts(
    config: FamilyConfig, progress: Callable[[str], object] = lambda what: None
) -> dict[str, Any]:
    """Count work, depth and memory against length, of all rows, a Transformer-PSM and a decoder.

    - Work: floating point operations of the parallel form, the whole model's, as ``check_counts`` counts them.
      That is, of matrix products only, and attention as if it were not masked. Where a recurrence is elementwise (S4,
      S6, Mamba) it has none; there two operations for each entry of the state and each token are added, by
      formula and not by measurement. Other elementwise work (gates, norms, short convolutions) is
      left out everywhere, and so is the triangular system of rows that erase; both are linear in length by their
      shapes.
    - Depth: batched calls of the generic scan of the row's lifted pairs, counted; of the PSM's own scan. This is
      the form in which depth is logarithmic. The chunkwise form, which computes the work above, goes from chunk
      to chunk instead.
    - Memory: the most bytes that a stream kept, token by token up to that length, counted.

    Args:
        config: What is measured.
        progress: Told the name of each model before it is measured.

    Returns:
        For each model its name, its row's action if it has one, counts at each length, and fitted exponents.
        ``passed`` tells whether all counts are those of the formulas and all exponents small enough.
    """
    tokens = torch.randint(
        VOCABULARY, (1, config.lengths[-1]), generator=torch.Generator().manual_seed(config.seed)
    )
    models: list[dict[str, Any]] = []
    for name in ROWS:
        progress(name)
        models.append(_row(name, tokens, config))
    attention: dict[str, Any] = {"width": config.width, "heads": config.heads}
    others: dict[str, tuple[ModelConfig, dict[str, float]]] = {
        "transformer-psm": (
            TransformerPSMConfig(**attention, chunk=config.chunk, aggregator_layers=1, inference_layers=1),
            {"work": WORK, "memory": LOGARITHMIC},
        ),
        "decoder": (DecoderConfig(**attention, layers=1, positions="rotary"), {}),
    }
    for name, (shape, bounds) in others.items():
        progress(name)
        counts = check_counts(_build(shape, config), tokens, lengths=config.lengths, streamed=False, **bounds)
        models.append(_entry(name, "", config, counts))
    return {
        "format": 1,
        "config": asdict(config),
        "passed": all(entry["passed"] for entry in models),
        "models": models,
        "environment": environment(),
    }


def _build(shape: ModelConfig, config: FamilyConfig) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(config.seed)
        return build(shape, VOCABULARY).eval()


def _row(name: str, tokens: Tensor, config: FamilyConfig) -> dict[str, Any]:
    model = _build(AffineLanguageModelConfig(row=name, width=config.width, layers=1), config)
    counts = check_counts(model, tokens, lengths=config.lengths, memory=CONSTANT, streamed=False)
    block = model.blocks[0]
    with torch.no_grad():
        action, leaves = lifted(block.layer, block.layer_norm(model.embed(tokens)))
    shift = leaves[1]
    steps = shift.shape[1] // tokens.shape[1]
    calls = check_counts(action, leaves, lengths=[steps * n for n in config.lengths])
    entry = _entry(name, type(action).__name__.lower(), config, counts, calls)
    if isinstance(action, Elementwise):
        for point in entry["points"]:
            point["operations"] += 2 * point["length"] * shift[0, 0].numel()
        entry["work"] = fitted_exponent(
            list(config.lengths), [point["operations"] for point in entry["points"]]
        )
    entry["passed"] = entry["passed"] and calls.passed and entry["work"] <= WORK
    return entry


def _entry(
    name: str, action: str, config: FamilyConfig, counts: Report, calls: Report | None = None
) -> dict[str, Any]:
    """Put the counts of one model together; batched calls are those of its pairs, where it has them."""
    found = {"work": counts["work exponent"], "memory": counts["memory exponent"]}
    deep = (calls or counts).table
    return {
        "name": name,
        "action": action,
        "points": [
            {
                "length": n,
                "operations": row["flops"],
                "calls": deeper.get("calls"),
                "bytes": row["stored"],
            }
            for n, row, deeper in zip(config.lengths, counts.table, deep, strict=True)
        ],
        **found,
        "passed": counts.passed,
    }
