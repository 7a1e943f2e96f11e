"""AdamW with decay on matrices only, and the rate as a pure function of the step."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from scannable.scans._option import check_option

Shape = Literal["cosine", "linear", "stable"]


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """AdamW, the schedule of its rate, and gradient clipping."""

    rate: float = 1e-3
    """The highest learning rate."""
    warmup: int = 100
    """Steps over which the rate rises in a straight line from zero."""
    schedule: Shape = "cosine"
    """How the rate falls to zero after that: along a cosine, in a line, or (stable) only in the cool-down."""
    cooldown: float = 0.2
    """The fraction of all steps, behind the warm-up at most, in which a stable rate falls in a line to zero; other
    schedules have none."""
    decay: float = 0.01
    """Weight decay, on weights with two axes or more; biases, gains and other vectors have none."""
    betas: tuple[float, float] = (0.9, 0.98)
    """How much of the running means of the gradient and of its square is kept at each step."""
    epsilon: float = 1e-8
    """Added to the square root of the second mean."""
    clip: float = 1.0
    """The largest norm of the whole gradient; longer ones are shortened to it."""

    def __post_init__(self) -> None:
        check_option("schedule", self.schedule, get_args(Shape))
        if not all(0 < value < math.inf for value in (self.rate, self.clip, self.epsilon)):
            raise ValueError(
                f"rate, clip and epsilon must be finite and above zero, got rate={self.rate}, clip={self.clip} and "
                f"epsilon={self.epsilon}; use a large clip, such as 1e9, to let every gradient through."
            )
        if self.warmup < 0 or not 0 <= self.decay < math.inf or not 0 <= self.cooldown <= 1:
            raise ValueError(
                f"warmup and decay must be finite and at least zero and cooldown from 0 to 1, got "
                f"warmup={self.warmup}, decay={self.decay} and cooldown={self.cooldown}; zero switches each off."
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(
                f"betas must be two numbers from 0 up to but not 1, got {self.betas}; try (0.9, 0.98)."
            )


def rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """Return the learning rate of update ``step``, counted from 0, of ``steps``.

    It would be zero at ``step = steps``, the first update that is not made.
    """
    if step < config.warmup:
        return config.rate * (step + 1) / config.warmup
    match config.schedule:
        case "stable":
            cooldown = min(config.cooldown * steps, steps - config.warmup)
            left = min(1.0, (steps - step) / cooldown) if cooldown else 1.0
        case "linear":
            left = (steps - step) / (steps - config.warmup)
        case _:
            done = (step - config.warmup) / (steps - config.warmup)
            left = (1 + math.cos(math.pi * done)) / 2
    return config.rate * left


def optimiser(config: OptimiserConfig, model: nn.Module) -> torch.optim.AdamW:
    """Make AdamW over the parameters of a model, matrices first.

    Matrices decay, but not what a module of the model names in ``undecayed``.
    """
    spared = {
        getattr(module, name) for module in model.modules() for name in getattr(module, "undecayed", ())
    }
    learned = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in learned if p.dim() >= 2 and p not in spared]
    groups = [
        {"params": decayed, "weight_decay": config.decay},
        {"params": [p for p in learned if p.dim() < 2 or p in spared], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.rate,
        betas=config.betas,
        eps=config.epsilon,
        fused=True,
    )
