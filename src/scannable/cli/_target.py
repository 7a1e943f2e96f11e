"""What RUN means on the command line: a folder of ours, or the name of a packaged model."""

from pathlib import Path
from typing import Any

from scannable.training import RunConfig, load, pretrained


def open_run(name: str) -> tuple[Any, RunConfig]:
    """Read the model of a run and its config."""
    if Path(name).is_dir():
        return load(name)
    try:
        return pretrained(name)
    except ValueError as error:
        raise ValueError(
            f"RUN must be a run's folder or the name of a packaged model, got {name!r}. {error}"
        ) from None
