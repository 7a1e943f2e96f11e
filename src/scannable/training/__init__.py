"""Training, evaluation and what a run leaves on the disk."""

from scannable.training._config import RunConfig
from scannable.training._curriculum import Curriculum, CurriculumConfig
from scannable.training._evaluate import Evaluation, Form, evaluate
from scannable.training._files import write_json
from scannable.training._folder import load, pretrained, read_config, save
from scannable.training._kinds import RUNS, AnyRunConfig
from scannable.training._log import Check, Event, Progress, TextCheck
from scannable.training._loop import Result, train
from scannable.training._optim import OptimiserConfig, rate
from scannable.training._score import score
from scannable.training._scores import Reading, Scores
from scannable.training._text import TextConfig, TextRunConfig
from scannable.training._words import WordRunConfig

__all__ = [
    "RUNS",
    "AnyRunConfig",
    "Check",
    "Curriculum",
    "CurriculumConfig",
    "Evaluation",
    "Event",
    "Form",
    "OptimiserConfig",
    "Progress",
    "Reading",
    "Result",
    "RunConfig",
    "Scores",
    "TextCheck",
    "TextConfig",
    "TextRunConfig",
    "WordRunConfig",
    "evaluate",
    "load",
    "pretrained",
    "rate",
    "read_config",
    "save",
    "score",
    "train",
    "write_json",
]
