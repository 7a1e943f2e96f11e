"""What is asked of a model: batches, exact answers and metrics, as pure functions of config and generator."""

from scannable.tasks._batch import Batch, Task
from scannable.tasks._groups import PermutationGroup, group
from scannable.tasks._metrics import error_without_last, final_error, loss, token_error
from scannable.tasks._words import WordProblem, WordProblemConfig

__all__ = [
    "Batch",
    "PermutationGroup",
    "Task",
    "WordProblem",
    "WordProblemConfig",
    "error_without_last",
    "final_error",
    "group",
    "loss",
    "token_error",
]
