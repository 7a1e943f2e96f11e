"""A class of the user's own, found by its import path, and states or tokens to check it on."""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from scannable.cli._stranger import raised
from scannable.scans import Aggregator, State
from scannable.scans._tree import along, arranged
from scannable.testing import SequenceModel
from scannable.testing._subject import Subject


def find(path: str) -> Subject:
    """Import what ``package.module:Name`` or ``file.py:Name`` names; a class is called without arguments."""
    place, _, name = path.rpartition(":")
    if not place or not name:
        raise ValueError(
            f"An import path must be package.module:Name or file.py:Name, got {path!r}; put the name of a class or of "
            f"an object after the colon{_classes(path.rstrip(':'))}."
        )
    found: Any = _from_file(Path(place)) if place.endswith(".py") else _from_package(place)
    for part in name.split("."):
        if not hasattr(found, part):
            known = sorted(x for x in dir(found) if not x.startswith("_"))
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
        except Exception as error:
            raise ValueError(
                f"{path} must be callable without arguments, got {raised(error)}; correct its constructor, or name an "
                f"object, as in MY = {name}(...)."
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
        return _drawn(subject, draw, batch, length, generator)
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


def check_shape(shape: tuple[str, ...]) -> None:
    """Refuse sizes that are none."""
    for one in shape:
        _sizes(one)


def _classes(place: str) -> str:
    """List the classes that a file defines, without importing it."""
    path = Path(place)
    if path.suffix != ".py" or not path.is_file():
        return ""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        raise _unimportable(path, error) from error
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    return (
        f": {', '.join(f'{path}:{name}' for name in names)}"
        if names
        else f", of which {path} defines no class"
    )


def _drawn(subject: Subject, draw: Any, batch: int, length: int, generator: torch.Generator) -> State:
    """Let a stranger draw, and make sure that leaves or tokens came out."""
    leaves: Any = None
    try:
        leaves = draw(batch, length, generator)
        tensors, _ = tree_flatten(leaves)
        wrong = [x for x in tensors if not isinstance(x, torch.Tensor) or x.shape[:2] != (batch, length)]
        got = (
            f"{type(wrong[0]).__name__} {_form(wrong[0])}".strip() if wrong else "" if tensors else "nothing"
        )
    except Exception as error:  # noqa: BLE001 - whatever a stranger's code raises is told
        got = raised(error)
    if got:
        raise ValueError(
            f"{type(subject).__name__}.draw(batch, length, generator) must return tensors whose shape begins with "
            f"({batch}, {length}), got {got}; correct draw."
        )
    return leaves


def _form(value: Any) -> str:
    return f"of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else ""


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
    left, right = along(leaves, 0), along(leaves, 1)
    try:
        with torch.no_grad():
            merged = aggregator.combine(left, right)
        got = "a state of another shape" if _shapes(arranged(merged, left)) != _shapes(left) else ""
    except Exception as error:  # noqa: BLE001 - whatever a stranger's code raises is told
        got = raised(error)
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
        try:
            specification.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[path.stem]
            raise _unimportable(path, error) from error
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
            raise _unimportable(name, error) from error
        except (Exception, SystemExit) as error:
            raise _unimportable(name, error) from error


def _unimportable(place: Path | str, error: BaseException) -> ValueError:
    return ValueError(f"{place} must be code that can be imported, got {raised(error)}; correct it there.")


@contextmanager
def _importing(folder: str) -> Iterator[None]:
    """Look for modules in a folder first."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
