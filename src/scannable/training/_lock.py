"""One process trains in a folder: whoever does holds a lock on a file in it, which the system lets go when it ends."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LOCK = ".lock"

fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Keep others from training in a folder, which is made if it is not there; its lock file goes with the context.

    There is no lock where the system or the disk has none, or where no file can be made: what else is written there
    says so better. The context tells whether there is one.

    Raises:
        ValueError: If another process has it.
    """
    handle, held = (None, False) if fcntl is None else _take(folder)
    try:
        yield held
    finally:
        if handle is not None:
            if _is(handle, folder / LOCK):
                (folder / LOCK).unlink()
            os.close(handle)


def _take(folder: Path) -> tuple[int | None, bool]:
    """Open the lock file; tell whether the lock on it was to be had."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None, False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise ValueError(
                f"{folder} must have one process training in it, got another; wait for it, or end it."
            ) from None
        except OSError:
            return handle, False
        # Whoever had it may have taken the file away in between, and the next one makes its own.
        if _is(handle, folder / LOCK):
            return handle, True
        os.close(handle)


def _is(handle: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False
