"""Files that a command writes where a person wants them."""

from pathlib import Path

from scannable.training._files import write_text


def check_place(option: str, path: Path) -> None:
    """Refuse a place where no file can be, before anything is measured that would be lost.

    Raises:
        FileNotFoundError: If there is no such folder.
        IsADirectoryError: If the place itself is a folder.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{option} must be a file in a folder that is there, got {path}; make the folder {path.parent} first."
        )
    if path.is_dir():
        raise IsADirectoryError(f"{option} must be a file, got the folder {path}; name a file in it.")


def write_out(option: str, path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        OSError: If it cannot be written; the error names the option and the cure.
    """
    check_place(option, path)
    try:
        write_text(path, text)
    except OSError as error:
        if error.errno is None:  # it is in our words already
            raise
        raise OSError(
            f"{option} must be a file that may be written, got {path} ({error.strerror}); choose another."
        ) from error
