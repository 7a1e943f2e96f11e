"""Training, evaluation and what a run leaves on the disk."""

from scannable.training._config import RunConfig
from scannable.training._curriculum import Curriculum, CurriculumConfig
from scannable.training._evaluate import Evaluation, Form, evaluate
from scannable.training._files import write_json
from scannable.training._folder import load, pretrained, read_config, save
from scannable.training._log import Check, Event, Progress
from scannable.training._loop import Result, train
from scannable.training._optim import OptimiserConfig, rate

__all__ = [
    "Check",
    "Curriculum",
    "CurriculumConfig",
    "Evaluation",
    "Event",
    "Form",
    "OptimiserConfig",
    "Progress",
    "Result",
    "RunConfig",
    "evaluate",
    "load",
    "pretrained",
    "rate",
    "read_config",
    "save",
    "train",
    "write_json",
]
