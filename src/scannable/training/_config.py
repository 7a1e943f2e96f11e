"""What every run has, whatever it is trained on; `WordRunConfig` and `TextRunConfig` add the rest."""

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from scannable.models import ModelConfig, TransformerPSMConfig
from scannable.scans._option import check_option
from scannable.training._device import named
from scannable.training._optim import OptimiserConfig

Precision = Literal["float32", "bfloat16"]
Parallel = Literal["replicate", "shard"]

FREE = ("time_limit", "log_every", "save_every", "tensorboard", "parallel")
"""Fields that decide when a run stops, what it says and who keeps what, but no weight beyond rounding: they may change
when it is taken up again."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What is trained, how, and for how long.

    On one machine a config decides the weights to the bit, as long as it sets no time limit and the device is a CPU.
    """

    model: ModelConfig = field(default_factory=TransformerPSMConfig)
    """Which model; its vocabulary is that of what it is trained on."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    """How weights are updated."""
    steps: int = 5000
    """The last step; the learning rate reaches zero there."""
    tokens: int = 2048
    """Tokens in a step: as many sequences as fit, at least one."""
    parts: int = 1
    """Parts in which a step's sequences go through the model, one after another: less memory for more time."""
    seed: int = 0
    """Decides the first weights, the batches and the dropout."""
    device: str = "cpu"
    """Where to train, as torch names it: cpu, cuda, cuda:1."""
    precision: Precision = "float32"
    """With bfloat16 the forward pass runs under autocast, and a GPU takes products that are left in float32, as of an
    affine model's states, with operands in TF32; weights and optimiser stay in float32."""
    compile: bool = False
    """Run the model through torch.compile; each new length may be compiled once more."""
    parallel: Parallel = "replicate"
    """What each of several processes keeps: all weights (DDP), or its share of weights and moments (FSDP2)."""
    time_limit: float | None = None
    """Stop after this many seconds of training, those before a resume counted in; the schedule does not know of it."""
    log_every: int = 50
    """Steps from one line of metrics to the next."""
    save_every: float = 60.0
    """Seconds from one checkpoint to the next; there is always one at the end and when the run is interrupted."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard too, into the run's folder."""

    def __post_init__(self) -> None:
        if min(self.steps, self.tokens, self.parts, self.log_every) < 1:
            raise ValueError(
                f"steps, tokens, parts and log_every must be at least 1, got steps={self.steps}, "
                f"tokens={self.tokens}, parts={self.parts} and log_every={self.log_every}; raise them."
            )
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed must be from 0 to 2**64 - 1, got {self.seed}; choose another.")
        if self.optimiser.warmup > self.steps:
            raise ValueError(
                f"The warm-up must end within the run, got optimiser.warmup={self.optimiser.warmup} and "
                f"steps={self.steps}; lower optimiser.warmup to {self.steps} or less, or raise steps."
            )
        if not 0 <= self.save_every < math.inf or not (
            self.time_limit is None or 0 < self.time_limit < math.inf
        ):
            raise ValueError(
                f"save_every must be finite and at least zero and time_limit finite and above zero, got "
                f"save_every={self.save_every} and time_limit={self.time_limit}; leave the limit out to train to the "
                f"last step, and set save_every to 1e9 to save at the end only."
            )
        check_option("precision", self.precision, get_args(Precision))
        check_option("parallel", self.parallel, get_args(Parallel))
        named(self.device)
