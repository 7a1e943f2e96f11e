"""Tensors on the disk: safetensors with a format number and a checksum over every name, shape and byte.

Nothing is ever unpickled. A file is written under another name and renamed, so a crash leaves the old one; a file that
is read is checked as a whole before one weight of a model is touched.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from scannable.training._files import replacing
from scannable.training._share import part

FORMAT = 1

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and facts that JSON knows, in one file, at once or not at all."""
    copies = {name: x.detach().cpu().contiguous() for name, x in tensors.items()}
    text = json.dumps(facts, sort_keys=True, allow_nan=False)
    metadata = {"format": str(FORMAT), "facts": text, "checksum": _checksum(copies, text)}
    with replacing(path) as partial:
        try:
            save_file(copies, partial, metadata)
        except SafetensorError as error:
            raise OSError(
                f"{path} must be a file that can be written, got {error}; make room, or choose another folder."
            ) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``write_tensors`` wrote, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated, damaged, or was not written here; the error names file and fault.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} must hold {path.name}, got no such file; give a run's folder with a checkpoint."
        )
    while True:
        begun = path.stat()
        try:
            return _read(path)
        except ValueError:
            # safetensors opens a file twice, and a run that goes on may replace it in between.
            if os.path.samestat(begun, path.stat()):
                raise


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _damaged(path, f"one that is truncated, damaged or of another kind ({error})") from error
    if not {"format", "facts", "checksum"} <= metadata.keys():
        raise _damaged(path, "a safetensors file of another program, without format, facts and checksum")
    if metadata["checksum"] != _checksum(tensors, metadata["facts"]):
        raise _damaged(path, "one whose bytes do not fit its checksum")
    if metadata["format"] != str(FORMAT):
        raise ValueError(
            f"{path} must have format {FORMAT}, got format {metadata['format']}; read it with the version of "
            f"scannable that wrote it."
        )
    return tensors, json.loads(metadata["facts"])


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Return what a model has learned and keeps, each shared tensor once, under its first name."""
    names: dict[int, str] = {}
    kept = model.state_dict(keep_vars=True)
    return {name: x for name, x in kept.items() if names.setdefault(id(x), name) == name}


def load_weights(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy weights into a model, floats of any width, or refuse them all.

    Raises:
        ValueError: If names, shapes or kinds of number are not the model's; the error names the file.
    """
    own = weights(model)
    faults = [f"{name} is missing" for name in own.keys() - tensors.keys()]
    faults += [f"{name} has no place" for name in tensors.keys() - own.keys()]
    for name in sorted(own.keys() & tensors.keys()):
        x, y = own[name], tensors[name]
        if x.shape != y.shape:
            faults.append(f"{name} is {tuple(y.shape)} instead of {tuple(x.shape)}")
        elif x.dtype != y.dtype and not (x.dtype in _FLOATS and y.dtype in _FLOATS):
            faults.append(f"{name} is {y.dtype} instead of {x.dtype}")
    if faults:
        more = f" and {len(faults) - 3} more faults" if len(faults) > 3 else ""
        raise ValueError(
            f"{path} must hold the weights of the model its config describes, got other ones: "
            f"{', '.join(sorted(faults)[:3])}{more}; give the folder of a run of that model."
        )
    with torch.no_grad():
        for name, x in own.items():
            x.copy_(part(tensors[name], x))


def _checksum(tensors: dict[str, Tensor], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        x = tensors[name]
        digest.update(f"\n{name} {x.dtype} {tuple(x.shape)}\n".encode())
        digest.update(x.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _damaged(path: Path, got: str) -> ValueError:
    return ValueError(
        f"{path} must be a whole file that scannable wrote, got {got}; restore it from a copy, "
        f"or train again in another folder."
    )
