"""Files that are whole or not there: written under another name, flushed to the disk, then renamed."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of a disk that is full which file there is no room for.

    Raises:
        OSError: In words, in place of the system's error number.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OSError(
            f"{path} must have room on its disk, got {error.strerror}; make room, and give the same command again."
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the place of ``path`` once it is safely on the disk.

    Whatever goes wrong, ``path`` keeps its old content. Who may read it is what the umask says.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with writing(path):
            partial.unlink(missing_ok=True)
            partial.touch()
            mode = stat.S_IMODE(partial.stat().st_mode)
            yield partial
            # Whoever wrote it may have made a file of its own, as safetensors does, that nobody else can read.
            partial.chmod(mode)
            _flush(partial, os.O_RDWR)
            partial.replace(path)
            if os.name == "posix":
                _flush(path.parent, os.O_RDONLY)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is the old one or the new one, never a part."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that it is the old one or the new one, never a part.

    Raises:
        ValueError: If ``value`` holds NaN or an infinity, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that may come from anywhere.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is not JSON; the error names the file and the fault.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path.parent} must hold {path.name}, got no such file; give the folder of a run."
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} must be a JSON file, got one that breaks off or is damaged ({error}); "
            f"restore it from a copy, or start a new run in another folder."
        ) from error


def _flush(path: Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
