"""The kinds of run, by the names that they have in files and on the command line."""

from scannable.training._course import Course
from scannable.training._distributed import Peers
from scannable.training._text import TextCourse, TextRunConfig
from scannable.training._words import WordCourse, WordRunConfig

AnyRunConfig = WordRunConfig | TextRunConfig

RUNS: dict[str, type[AnyRunConfig]] = {"words": WordRunConfig, "text": TextRunConfig}


def begin(config: AnyRunConfig, peers: Peers) -> Course:
    """Return the course of a run, at its beginning.

    Raises:
        ValueError: If so many processes cannot share it, or there is nothing to learn from.
    """
    match config:
        case WordRunConfig():
            if peers.count > 1:
                raise ValueError(
                    f"A run on words must have one process, got {peers.count}; start it without torchrun."
                )
            return WordCourse(config)
        case TextRunConfig():
            return TextCourse(config, peers)
