"""The folder of a run: claimed for one config, and read back into a model."""

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from torch import nn

from scannable.models import build
from scannable.training._checkpoint import FORMAT, load_weights, read_tensors, weights, write_tensors
from scannable.training._config import FREE
from scannable.training._files import read_json, write_json
from scannable.training._kinds import AnyRunConfig
from scannable.training._lock import LOCK
from scannable.training._record import differences, from_json, to_json
from scannable.training._text import TextRunConfig

CONFIG, MODEL, CHECKPOINT, METRICS = (
    "config.json",
    "model.safetensors",
    "checkpoint.safetensors",
    "metrics.jsonl",
)


def claim(folder: Path, config: AnyRunConfig, *, alone: bool = False) -> None:
    """Make the folder of a run, or make sure that it is the folder of this very run.

    Fields that decide no weight may differ; ``settle`` writes them down. So may all of them to a process that has the
    folder ``alone``, while no weight is written, as after a first step that was too large for the memory.

    Raises:
        ValueError: If it belongs to another config, or holds files of something else.
        OSError: If it cannot be made.
    """
    if (folder / CONFIG).exists():
        found = differences(_deciding(read_config(folder)), _deciding(config))
        if found and not (alone and not any((folder / name).exists() for name in (CHECKPOINT, MODEL))):
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            raise ValueError(
                f"{folder} must hold a run of the same config, got one that differs in {'; '.join(found[:3])}{more}; "
                f"choose another folder, or give the old config to resume that run."
            )
        return
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} must be a folder, got a file; choose another place for the run.")
    strangers = [path.name for path in folder.iterdir()] if folder.exists() else []
    strangers = sorted(name for name in strangers if name != LOCK and not name.endswith(".partial"))
    if strangers:
        raise ValueError(
            f"{folder} must be empty or hold a run, got {strangers[:3]} and no {CONFIG}; choose another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_config(folder, config)
    except OSError as error:
        if error.errno is None:  # in words already
            raise
        raise OSError(
            f"{folder} must be a folder that can be made and written, got {error.strerror}; "
            f"choose another place for the run."
        ) from error


def settle(folder: Path, config: AnyRunConfig) -> None:
    """Let a claimed folder hold this very config."""
    if read_config(folder) != config:
        _write_config(folder, config)


def move_text(folder: Path, config: AnyRunConfig) -> None:
    """Let the config of a run on text say where the text lies now, and no more than that."""
    if isinstance(config, TextRunConfig):
        begun = cast("TextRunConfig", read_config(folder))
        settle(folder, replace(begun, text=replace(begun.text, data=config.text.data)))


def read_config(folder: Path | str) -> AnyRunConfig:
    """Read the config of a run.

    Raises:
        FileNotFoundError: If the folder holds none.
        ValueError: If it is damaged, of another format, or not a config; the error names the file.
    """
    path = Path(folder) / CONFIG
    content = read_json(path)
    if not isinstance(content, dict) or not {"format", "config"} <= content.keys():
        raise ValueError(
            f"{path} must be the config of a run, with its format, got something else; give the folder of a run."
        )
    if content["format"] != FORMAT:
        raise ValueError(
            f"{path} must have format {FORMAT}, got {content['format']!r}; read it with the version of scannable "
            f"that wrote it."
        )
    try:
        return parse_config(content["config"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_config(written: Any) -> AnyRunConfig:
    """Read a config from JSON; one without a kind is of the time when all runs were on words.

    Raises:
        ValueError: If it is not a config.
    """
    return from_json(AnyRunConfig, {"kind": "words", **written} if isinstance(written, dict) else written)


def check_types(config: AnyRunConfig) -> None:
    """Refuse a config that could not be read back, before it is written.

    Raises:
        ValueError: If a field has another type than it should.
    """
    parse_config(to_json(config))


def save(
    model: nn.Module, config: AnyRunConfig, folder: Path | str, *, dtype: torch.dtype | None = None
) -> None:
    """Write a model and its config, as ``load`` reads them.

    Args:
        model: The model; it stays as it is.
        config: The config it was trained with.
        folder: A new or empty folder, or one of the same config.
        dtype: What floats are stored as, such as ``torch.float16`` for half the size; by default, as they are.
    """
    check_types(config)
    folder = Path(folder)
    claim(folder, config)
    settle(folder, config)
    write_model(model, config, folder, dtype=dtype)


def write_model(
    model: nn.Module, config: AnyRunConfig, folder: Path, *, dtype: torch.dtype | None = None
) -> None:
    """Write the weights into a folder that was claimed."""
    kept = {name: x.to(dtype) if dtype and x.is_floating_point() else x for name, x in weights(model).items()}
    write_tensors(folder / MODEL, kept, {"config": to_json(config)})


def read_model(model: nn.Module, config: AnyRunConfig, folder: Path) -> dict[str, Any]:
    """Read what ``write_model`` wrote into a model of the same config; return what the file says beside the weights.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated, damaged, foreign, or of another model; the error names it.
    """
    tensors, facts = read_tensors(folder / MODEL)
    check_origin(folder / MODEL, facts, config, ("kind", "task", "text", "model"))
    load_weights(model, tensors, folder / MODEL)
    return facts


def facts_of(folder: Path | str) -> dict[str, Any]:
    """Return what the model file of a run says beside its weights, which ``load`` has read and checked."""
    # Not as "pt", which would open the file twice: a run that goes on may replace it in between.
    with safe_open(Path(folder) / MODEL, "np") as file:
        return json.loads(file.metadata()["facts"])


def load(folder: Path | str, *, device: torch.device | str = "cpu") -> tuple[nn.Module, AnyRunConfig]:
    """Read the model of a run, ready to evaluate, and the run's config.

    Weights are float32, however they were stored.

    Raises:
        FileNotFoundError: If the folder holds no config or no weights.
        ValueError: If a file is truncated, damaged, foreign, or of another model; the error names it.
    """
    folder = Path(folder)
    config = read_config(folder)
    model = fresh_model(config)
    read_model(model, config, folder)
    return model.to(device).eval(), config


def pretrained(name: str) -> tuple[nn.Module, AnyRunConfig]:
    """Read a model that ships with the package, by its name.

    Raises:
        ValueError: If there is none of that name; the error lists those there are.
    """
    packaged = resources.files("scannable.training") / "pretrained"
    names = sorted(entry.name for entry in packaged.iterdir() if entry.is_dir()) if packaged.is_dir() else []
    if name not in names:
        raise ValueError(
            f"A packaged model must be one of {names}, got {name!r}; choose one of these, or train one and load it."
        )
    with resources.as_file(packaged / name) as folder:
        return load(folder)


def fresh_model(config: AnyRunConfig) -> nn.Module:
    """Build the model of a run with the weights that its seed decides; global generators stay as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(config.seed)
        return build(config.model, config.vocabulary)


def check_origin(path: Path, facts: Any, config: AnyRunConfig, parts: tuple[str, ...]) -> None:
    """Refuse tensors that were written for another config, as far as ``parts`` of it go."""
    try:
        written = _deciding(parse_config(facts["config"]))
    except (KeyError, TypeError, ValueError):
        written = {}
    wanted = _deciding(config)
    found = [line for part in parts for line in differences(written.get(part), wanted.get(part), part)]
    if found:
        raise ValueError(
            f"{path} must be of the run that {CONFIG} beside it describes, got one of another model or run, which "
            f"differs in {'; '.join(found[:3])}; put the two files of one run together."
        )


def _deciding(config: AnyRunConfig) -> dict[str, Any]:
    """Write what decides the weights as JSON; of a text, that is what is in it and not where it lies."""
    found = {name: value for name, value in to_json(config).items() if name not in FREE}
    if "text" in found:
        found["text"] = {name: value for name, value in found["text"].items() if name != "data"}
    return found


def _write_config(folder: Path, config: AnyRunConfig) -> None:
    write_json(folder / CONFIG, {"format": FORMAT, "config": to_json(config)})
