"""Runs on word problems: words whose lengths grow by a curriculum."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scannable.scans._option import check_option
from scannable.tasks import Batch, WordProblem, WordProblemConfig, loss
from scannable.training._config import RunConfig
from scannable.training._curriculum import Curriculum, CurriculumConfig
from scannable.training._evaluate import evaluate
from scannable.training._log import Check
from scannable.training._seeds import derive

Place = Literal["cpu", "device"]


@dataclass(frozen=True, kw_only=True)
class WordRunConfig(RunConfig):
    """What is trained on word problems, how, and for how long."""

    task: WordProblemConfig = field(default_factory=WordProblemConfig)
    """What the model is asked."""
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    """How lengths grow."""
    draw: Place = "cpu"
    """Where batches are drawn; on a GPU `device` may be faster and draws other words from the same seed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("draw", self.draw, get_args(Place))
        Curriculum.begin(self.curriculum, self.task.shortest, self.task.longest)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return WordProblem(self.task).vocabulary


class WordCourse:
    """Words of growing length, and fresh ones at every check."""

    about = ""

    def __init__(self, config: WordRunConfig) -> None:
        self.config, self.device = config, torch.device(config.device)
        self.task = WordProblem(config.task)
        self.curriculum = Curriculum.begin(config.curriculum, config.task.shortest, config.task.longest)
        self.lengths = torch.Generator().manual_seed(derive(config.seed, "lengths"))
        place = self.device if config.draw == "device" else "cpu"
        self.batches = torch.Generator(place).manual_seed(derive(config.seed, "batches"))

    @property
    def length(self) -> int:
        return self.curriculum.length

    @property
    def solved(self) -> bool:
        return self.curriculum.solved

    @property
    def over(self) -> bool:
        return self.config.curriculum.stop and self.solved

    def batch(self, step: int) -> Batch:
        length = self.curriculum.draw(self.lengths)
        return self.task.batch(max(1, self.config.tokens // length), length, self.batches).to(self.device)

    def loss(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        return loss(model(batch.tokens), batch)

    def due(self, step: int) -> bool:
        return step % self.config.curriculum.every == 0 or step == self.config.steps

    def check(self, model: nn.Module, step: int) -> Check:
        config, now = self.config, self.curriculum
        seed, words = derive(config.seed, "check", step), config.curriculum.words
        (scores,) = evaluate(model, self.task, [now.length], sequences=words, seed=seed)
        self.curriculum = now.observe(scores.final_error)
        return Check(
            step=step,
            stage=now.stage,
            length=now.length,
            loss=scores.loss,
            error=scores.error,
            final_error=scores.final_error,
            solved=scores.final_error <= now.threshold,
        )

    def tensors(self) -> dict[str, Tensor]:
        return {
            "course.lengths": self.lengths.get_state(),
            "course.batches": self.batches.get_state(),
        }

    def facts(self) -> dict[str, Any]:
        return {"stage": self.curriculum.stage, "solved": self.curriculum.solved}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        self.lengths.set_state(tensors["course.lengths"])
        self.batches.set_state(tensors["course.batches"])
        self.curriculum = self.curriculum.at(facts["stage"], solved=facts["solved"])
