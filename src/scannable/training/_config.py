"""Everything that decides a run, in one frozen value."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from scannable.models import ModelConfig, TransformerPSMConfig
from scannable.tasks import WordProblemConfig
from scannable.training._curriculum import Curriculum, CurriculumConfig
from scannable.training._device import named
from scannable.training._optim import OptimiserConfig

Precision = Literal["float32", "bfloat16"]
Place = Literal["cpu", "device"]

FREE = ("time_limit", "log_every", "save_every", "tensorboard")
"""Fields that decide when a run stops and what it says, but no weight: they may change when it is taken up again."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What is trained, on what, how, and for how long.

    On one machine a config decides the weights to the bit, as long as it sets no time limit and the device is a CPU.
    """

    task: WordProblemConfig = field(default_factory=WordProblemConfig)
    """What the model is asked."""
    model: ModelConfig = field(default_factory=TransformerPSMConfig)
    """Which model; its vocabulary is the task's."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    """How weights are updated."""
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    """How lengths grow."""
    steps: int = 5000
    """The last step; the learning rate reaches zero there."""
    tokens: int = 2048
    """Tokens in a step: as many words as fit, at least one. So every length costs about the same."""
    seed: int = 0
    """Decides the first weights, the words and the dropout."""
    device: str = "cpu"
    """Where to train, as torch names it: cpu, cuda, cuda:1."""
    precision: Precision = "float32"
    """With bfloat16 the forward pass runs under autocast; weights and optimiser stay in float32."""
    draw: Place = "cpu"
    """Where batches are drawn; on a GPU `device` may be faster and draws other words from the same seed."""
    compile: bool = False
    """Run the model through torch.compile; each new length may be compiled once more."""
    time_limit: float | None = None
    """Stop after this many seconds of training, those before a resume counted in; the schedule does not know of it."""
    log_every: int = 50
    """Steps from one line of metrics to the next."""
    save_every: float = 60.0
    """Seconds from one checkpoint to the next; there is always one at the end and when the run is interrupted."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard too, into the run's folder."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.tokens < 1 or self.log_every < 1 or self.seed < 0:
            raise ValueError(
                f"steps, tokens and log_every must be at least 1 and seed at least 0, got steps={self.steps}, "
                f"tokens={self.tokens}, log_every={self.log_every} and seed={self.seed}; raise them."
            )
        if self.optimiser.warmup > self.steps:
            raise ValueError(
                f"The warm-up must end within the run, got optimiser.warmup={self.optimiser.warmup} and "
                f"steps={self.steps}; lower optimiser.warmup to {self.steps} or less, or raise steps."
            )
        if self.save_every < 0 or (self.time_limit is not None and not self.time_limit > 0):
            raise ValueError(
                f"save_every must be at least zero and time_limit above zero, got save_every={self.save_every} "
                f"and time_limit={self.time_limit}; leave the limit out to train to the last step."
            )
        for name, value, choices in (
            ("precision", self.precision, get_args(Precision)),
            ("draw", self.draw, get_args(Place)),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {choices}, got {value!r}; choose one of these.")
        named(self.device)
        Curriculum.begin(self.curriculum, self.task.shortest, self.task.longest)
