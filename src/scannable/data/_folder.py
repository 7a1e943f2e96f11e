"""Which files of a folder are which part of the data, and whether all of them are there."""

import json
import re
from pathlib import Path

from scannable.data._files import holds_ids

_NAMES = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("valid", "validation", "validset", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}
_PART = re.compile(rf"(?:^|\.)({'|'.join(_NAMES)})(?![a-z])", re.IGNORECASE)
_ABOUT = ("meta.json",)  # what a folder says of itself

DATES = 1000
"""From this number on files are of a year or a day, and there may be some between them that never were."""


def parts(folder: Path) -> dict[str, list[Path]]:
    """Sort the files of a folder, not of folders in it, into train, valid and test, by their names.

    A name says it at its beginning or after a dot, in a word of its own: ``train.0.u16.xz``, ``wiki.valid.raw``,
    ``Validation-00.txt``. Numbered files are in the order of their numbers. Where no name says it, all files are of
    train, by name.

    Raises:
        ValueError: If there is no file, a part has both text and ids, one of its numbered files is missing, or a link
            leads nowhere.
    """
    shown = _shown(folder)
    if lost := [p.name for p in shown if p.is_symlink() and not p.exists()]:
        raise ValueError(
            f"Links in {folder} must lead to files, got {lost[0]}, which leads nowhere; restore its file, or remove it."
        )
    files = [p for p in shown if p.is_file()]
    if not files:
        raise ValueError(
            f"{folder} must hold files of text or ids, got none; give another folder, or a file."
        )
    found: dict[str, list[Path]] = {}
    for path in files:
        if said := _PART.search(path.name):
            found.setdefault(_NAMES[said[1].lower()], []).append(path)
    if not found:
        found = {"train": files}
        _one_kind(folder, "train", files)
        return found
    if "train" not in found:
        raise ValueError(
            f"{folder} must hold a file whose name begins with the word train, got {', '.join(p.name for p in files)}; "
            f"add one, or give one of these files by itself."
        )
    for part, paths in found.items():
        _one_kind(folder, part, paths)
        found[part] = _in_order(folder, part, paths)
    return found


def others(folder: Path, found: dict[str, list[Path]]) -> tuple[str, ...]:
    """Name what is in a folder and of none of the parts that were found: files, and folders named like a part."""
    taken = {path for paths in found.values() for path in paths}
    left = [path for path in _shown(folder) if path not in taken]
    return tuple(path.name for path in left if path.is_file() or _PART.search(path.name))


def _shown(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name not in _ABOUT)


def _one_kind(folder: Path, part: str, paths: list[Path]) -> None:
    ids = [path.name for path in paths if holds_ids(path)]
    text = [path.name for path in paths if not holds_ids(path)]
    if ids and text:
        raise ValueError(
            f"The {part} part of {folder} must be text or ids, got both ({text[0]} and {ids[0]}); move one of them to "
            f"another folder."
        )


def _in_order(folder: Path, part: str, paths: list[Path]) -> list[Path]:
    """Put numbered files in order; all of them must be there."""
    numbers = {path: _number(path) for path in paths}
    known = [number for number in numbers.values() if number is not None]
    if len(known) < len(paths):
        if len(paths) > 1:
            raise ValueError(
                f"Where the {part} part of {folder} is in several files, they must be numbered, got "
                f"{', '.join(p.name for p in paths)}; name them {part}.0, {part}.1 and so on, or keep one."
            )
        return paths
    if len(set(known)) < len(known):
        raise ValueError(
            f"The files of the {part} part of {folder} must have numbers of their own, got "
            f"{', '.join(p.name for p in paths)}; remove those that are there twice."
        )
    first, dates = min(min(known), 1), min(known) >= DATES
    counted = range(0) if dates else range(first, max(known) + 1)
    missing = sorted({*counted, *_promised(folder, part), *_announced(paths, max(known))} - set(known))
    if missing:
        raise ValueError(
            f"{folder} must hold all numbered files of the {part} part, got {len(known)} of them without number "
            f"{', '.join(map(str, missing[:8]))}; copy what is missing."
        )
    return sorted(paths, key=lambda path: numbers[path] or 0)


def _number(path: Path) -> int | None:
    found = _PART.search(path.name)
    number = re.match(r"[.\-_]?(\d+)", path.name[found.end() :]) if found else None
    return int(number[1]) if number else None


def _announced(paths: list[Path], last: int) -> set[int]:
    """The numbers of all files that names such as ``train-00000-of-00003`` announce, from 0 unless the last is 3."""
    counts = [int(found[1]) for path in paths if (found := re.search(r"\d-of-(\d+)", path.name))]
    count = max(counts, default=0)
    return {number + (last == count) for number in range(count)}


def _promised(folder: Path, part: str) -> set[int]:
    """The numbers of a part's files that ``meta.json`` names, where there is one."""
    path = folder / "meta.json"
    if not path.is_file():
        return set()
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} must be a JSON file, got a damaged one ({error}); correct or remove it."
        ) from error
    wanted = (re.fullmatch(rf"{part}\.(\d+)", name) for name in names) if isinstance(names, dict) else ()
    return {int(name[1]) for name in wanted if name}
