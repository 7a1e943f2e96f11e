"""A class of the user's own, found by its import path, and states or tokens to check it on."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map

from scannable.scans import Aggregator, State
from scannable.testing import SequenceModel

Subject = Aggregator | SequenceModel


def find(path: str) -> Subject:
    """Import what ``package.module:Name`` or ``file.py:Name`` names; a class is called without arguments."""
    place, _, name = path.rpartition(":")
    if not place or not name:
        raise ValueError(
            f"An import path must be package.module:Name or file.py:Name, got {path!r}; put the name of a class or of "
            f"an object after the colon."
        )
    found: Any = _from_file(Path(place)) if place.endswith(".py") else _from_package(place)
    for part in name.split("."):
        if not hasattr(found, part):
            known = sorted(x for x in vars(found) if not x.startswith("_"))
            raise ValueError(f"{place} must hold {name}, got only {known}; correct the name after the colon.")
        found = getattr(found, part)
    if isinstance(found, type):
        try:
            found = found()
        except TypeError as error:
            raise TypeError(
                f"{path} must be callable without arguments, got {error}; name an object, as in MY = {name}(...), "
                f"or give its arguments defaults."
            ) from error
    if not isinstance(found, Aggregator | SequenceModel):
        raise TypeError(
            f"{path} must be an aggregator (combine, identity) or a model (start, prefill, step, and a call), got "
            f"{type(found).__name__}; give it the missing methods."
        )
    return found


def inputs_for(
    subject: Subject, *, shape: tuple[str, ...], vocabulary: int | None, batch: int, length: int, seed: int
) -> State:
    """Draw leaves ``(B, N, ...)`` for an aggregator, or tokens ``(B, T)`` for a model."""
    generator = torch.Generator().manual_seed(seed)
    draw = getattr(subject, "draw", None)
    if callable(draw):
        return draw(batch, length, generator)
    if not isinstance(subject, Aggregator):
        if vocabulary is None:
            raise ValueError(
                "A model needs tokens to read, got neither --vocabulary nor a method draw(batch, length, generator); "
                "say how many ids there are."
            )
        return torch.randint(vocabulary, (batch, length), generator=generator)
    states = tuple(torch.randn(batch, length, *_sizes(one), generator=generator) for one in shape)
    leaves = states[0] if len(states) == 1 else states
    _try(subject, leaves, shape)
    return leaves


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",") if part]
    except ValueError:
        sizes = [0]
    if any(size < 1 for size in sizes):
        raise ValueError(f"A shape must be whole numbers with commas between them, got {text!r}; try 8,16.")
    return sizes


def _try(aggregator: Aggregator, leaves: State, shape: tuple[str, ...]) -> None:
    """Merge once, so that states of the wrong shape are told from a broken law."""
    left, right = (tree_map(lambda x, place=place: x[:, place], leaves) for place in (0, 1))
    try:
        with torch.no_grad():
            merged = aggregator.combine(left, right)
        got = "a state of another shape" if _shapes(merged) != _shapes(left) else ""
    except Exception as error:  # noqa: BLE001 - whatever a stranger's code raises is told
        got = f"{type(error).__name__} ({error})"
    if got:
        raise ValueError(
            f"combine must merge two states into one of their shape, got {got} from random states of shape "
            f"{' and '.join(f'(R, {one})' for one in shape)}; say what a state looks like with --shape, or give "
            f"{type(aggregator).__name__} a method draw(batch, length, generator)."
        )


def _shapes(state: State) -> tuple[Any, list[tuple[int, ...]]]:
    tensors, structure = tree_flatten(state)
    return structure, [tuple(x.shape) for x in tensors]


def _from_file(path: Path) -> Any:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or specification is None or specification.loader is None:
        raise FileNotFoundError(
            f"{path} must be a Python file, got no such file; correct the path before the colon."
        )
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    with _importing(str(path.parent)):
        specification.loader.exec_module(module)
    return module


def _from_package(name: str) -> Any:
    with _importing("."):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and name.startswith(error.name):
                raise ValueError(
                    f"{name} must be a module that can be imported from here, got none of that name; run this where it "
                    f"lies, or write its file, as in {name.replace('.', '/')}.py:Name."
                ) from error
            raise


@contextmanager
def _importing(folder: str) -> Iterator[None]:
    """Look for modules in a folder first."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
