"""What RUN means on the command line: a folder of ours, or the name of a packaged model."""

from pathlib import Path
from typing import Any

from scannable.data import Splits, read
from scannable.training import AnyRunConfig, TextRunConfig, WordRunConfig, load, pretrained
from scannable.training._folder import CONFIG, facts_of
from scannable.training._text import changes, fingerprints


def open_run(name: str, *others: str) -> tuple[Any, AnyRunConfig]:
    """Read the model of a run and its config.

    Args:
        name: What RUN is.
        others: What else RUN may be in the command that asks.

    Raises:
        ValueError: If it is none of these, or a run whose files are damaged.
        FileNotFoundError: If a run has no weights.
    """
    folder = Path(name)
    try:
        return load(folder) if folder.is_dir() else pretrained(name)
    except (ValueError, FileNotFoundError) as error:
        if (folder / CONFIG).exists():
            raise
        places = ", ".join(("a run's folder", *others))
        raise ValueError(
            f"RUN must be {places} or the name of a packaged model, got {name!r}; give a folder with {CONFIG} or a "
            f"name such as s5, or make a run with scannable train."
        ) from error


def open_words(name: str) -> tuple[Any, WordRunConfig]:
    """Read the model of a run on word problems."""
    model, config = open_run(name)
    if not isinstance(config, WordRunConfig):
        raise ValueError(
            f"RUN must have been trained on word problems, got {name!r}, which was trained on text; use "
            f"scannable evaluate text {name}."
        )
    return model, config


def open_text(name: str) -> tuple[Any, TextRunConfig]:
    """Read the model of a run on text."""
    model, config = open_run(name)
    if not isinstance(config, TextRunConfig):
        raise ValueError(
            f"RUN must have been trained on text, got {name!r}, which was trained on word problems; make one with "
            f"scannable train text."
        )
    return model, config


def own_text(name: str, config: TextRunConfig) -> Splits:
    """Read the text that a run was trained and checked on, as it was then.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is another by now; files of older versions do not say which it was.
    """
    try:
        splits = read(config.text.data, config.text.tokenizer)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The text of {name} must be where the run read it, got none at {config.text.data} from here; go to the "
            f"folder in which the run was started or, if the text was moved, tell the run where it is now: its train "
            f"command with that --data, which makes no more steps if the run is over."
        ) from error
    facts = facts_of(name) if Path(name).is_dir() else {}
    if changed := changes(facts, fingerprints(splits)):
        raise ValueError(
            f"The data of {name} must be what the run began with, since what was trained on would be scored as held "
            f"out, got {changed}; restore the files, or name a text of your own with --data."
        )
    return splits
