"""Code that is not ours: what it raised, in one sentence and with the line."""

import sysconfig
import traceback
from pathlib import Path

import torch

import scannable

_KNOWN = (str(Path(scannable.__file__).parent), str(Path(torch.__file__).parent), "<")
_STANDARD = sysconfig.get_path("stdlib")


def raised(error: BaseException) -> str:
    """Say what was raised, and at which line of a file that is neither ours nor torch's nor Python's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__} ({error.msg}) in {error.filename}, line {error.lineno}"
    message = (str(error).strip().splitlines() or [""])[0]
    said = f"{type(error).__name__} ({message})" if message else type(error).__name__
    places = [x for x in traceback.extract_tb(error.__traceback__) if _strange(x.filename)]
    return f"{said} in {places[-1].filename}, line {places[-1].lineno}" if places else said


def _strange(file: str) -> bool:
    return not file.startswith(_KNOWN) and (not file.startswith(_STANDARD) or "site-packages" in file)
