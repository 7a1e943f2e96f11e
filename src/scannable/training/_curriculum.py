"""Lengths that grow as they are solved.

Training draws each batch's length uniformly from the shortest up to the current one. At every check, fresh words of
exactly the current length are scored; once their final-position error is low enough, the next stage begins. A stage
that is never solved is never left: the run ends there, and its result says so. After the last stage nothing is left to
move on to, so the run goes on at full length to its last step, or stops there if the config asks for it.
"""

from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """Which lengths come one after another, and when one counts as solved."""

    stages: tuple[int, ...] = (4, 8)
    """Lengths to solve, in this order, before the task's longest; none: train on the longest at once."""
    threshold: float = 0.01
    """A length is solved when at most this fraction of fresh words has a wrong last answer."""
    every: int = 100
    """Steps from one check to the next."""
    words: int = 512
    """How many fresh words a check scores."""
    stop: bool = False
    """Stop as soon as the longest length is solved."""

    def __post_init__(self) -> None:
        if list(self.stages) != sorted(set(self.stages)) or min(self.stages, default=1) < 1:
            raise ValueError(
                f"stages must be lengths >= 1 that grow, got {self.stages}; sort them and name each once."
            )
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold must be from 0 up to but not 1, got {self.threshold}; try 0.01.")
        if self.every < 1 or self.words < 1:
            raise ValueError(
                f"every and words must be at least 1, got every={self.every} and words={self.words}; "
                f"check seldom rather than never."
            )


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """Where a run stands among its lengths; a value, so ``observe`` returns a new one.

    Attributes:
        shortest: The shortest length to draw.
        stages: All lengths, the longest last.
        threshold: The error at which a length is solved.
        stage: Which of the lengths is the current one.
        solved: Whether the latest check found the last length solved.
    """

    shortest: int
    stages: tuple[int, ...]
    threshold: float
    stage: int = 0
    solved: bool = False

    @classmethod
    def begin(cls, config: CurriculumConfig, shortest: int, longest: int) -> "Curriculum":
        """Start at the first stage of lengths up to ``longest``.

        Raises:
            ValueError: If a stage is not below ``longest``.
        """
        if config.stages and config.stages[-1] >= longest:
            raise ValueError(
                f"Every stage must be shorter than the task's longest word, {longest}, got {config.stages}; "
                f"the longest is the last stage by itself."
            )
        return cls(shortest=shortest, stages=(*config.stages, longest), threshold=config.threshold)

    @property
    def length(self) -> int:
        """The current length, the one to be solved next."""
        return self.stages[self.stage]

    def draw(self, generator: torch.Generator) -> int:
        """Draw a training length, uniform from the shortest to the current one."""
        low = min(self.shortest, self.length)
        return int(torch.randint(low, self.length + 1, (), generator=generator, device=generator.device))

    def observe(self, error: float) -> "Curriculum":
        """Take in the final-position error on fresh words of the current length."""
        passed, last = error <= self.threshold, self.stage == len(self.stages) - 1
        return replace(self, stage=self.stage + (passed and not last), solved=passed and last)

    def at(self, stage: int, *, solved: bool) -> "Curriculum":
        """Return the same curriculum at another stage.

        Raises:
            ValueError: If there is no such stage.
        """
        if not 0 <= stage < len(self.stages):
            raise ValueError(
                f"stage must be from 0 to {len(self.stages) - 1}, got {stage}; choose one of these."
            )
        return replace(self, stage=stage, solved=solved)
