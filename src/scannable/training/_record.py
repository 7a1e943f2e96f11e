"""Configs as JSON and back: nested frozen dataclasses, those of runs and models with their name as ``kind``.

A config that is read may come from anywhere, so every name and type in it is checked against the annotations, and the
values by the dataclasses themselves.
"""

import dataclasses
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from scannable.models import MODELS
from scannable.training._kinds import RUNS

_KINDS: dict[type, str] = {kind: name for name, kind in [*MODELS.items(), *RUNS.items()]}


def to_json(config: Any) -> Any:
    """Write a config as what JSON knows."""
    if dataclasses.is_dataclass(config):
        names = [field.name for field in dataclasses.fields(config)]
        kind = {"kind": _KINDS[type(config)]} if type(config) in _KINDS else {}
        return kind | {name: to_json(getattr(config, name)) for name in names}
    if isinstance(config, tuple | list):
        return [to_json(value) for value in config]
    if isinstance(config, dict):
        return {name: to_json(value) for name, value in config.items()}
    return config


def from_json(kind: Any, value: Any, where: str = "config") -> Any:
    """Read a config of an annotated kind, such as ``WordRunConfig``.

    A field that is missing takes its default, so that older files can be read.

    Raises:
        ValueError: If something in it has no place or another type there; the error says where.
    """
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    origin, options = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _choose(options, value, where)
    if origin is tuple:
        kinds = options[:1] * len(value) if options[-1] is Ellipsis and isinstance(value, list) else options
        if not isinstance(value, list) or len(value) != len(kinds):
            raise _refusal(where, f"a list of {kind}", value)
        return tuple(
            from_json(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is dict:
        return _plain(get_args(options[1]), value, where)
    if origin is Literal:
        if not isinstance(value, str | int) or value not in options:
            raise _refusal(where, f"one of {options}", value)
        return value
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise _refusal(where, f"of type {getattr(kind, '__name__', kind)}", value)
    return value


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """List where two configs in JSON differ, each as ``name: old, now new``."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = dict.fromkeys([*old, *new])
        return [
            line
            for name in names
            for line in differences(old.get(name), new.get(name), f"{where}.{name}".lstrip("."))
        ]
    return [] if old == new else [f"{where}: {old!r}, now {new!r}"]


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    fields = [field.name for field in dataclasses.fields(kind)]
    if not isinstance(value, dict):
        raise _refusal(where, f"an object with the fields of {kind.__name__}", value)
    if kind in _KINDS and value.get("kind") != _KINDS[kind]:
        raise _refusal(f"{where}.kind", repr(_KINDS[kind]), value.get("kind"))
    if unknown := sorted(set(value) - set(fields) - ({"kind"} if kind in _KINDS else set())):
        raise ValueError(
            f"{where} must hold only fields of {kind.__name__}, {fields}, got also {unknown}; remove them, or read "
            f"the file with the version of scannable that wrote it."
        )
    hints = get_type_hints(kind)
    present = [name for name in fields if name in value]
    return kind(**{name: from_json(hints[name], value[name], f"{where}.{name}") for name in present})


def _choose(options: tuple[Any, ...], value: Any, where: str) -> Any:
    """Read one of several kinds: None, a run or a model by its name, or the one other type."""
    if value is None and type(None) in options:
        return None
    named = {_KINDS[option]: option for option in options if option in _KINDS}
    if named:
        name = value.get("kind") if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in named:
            raise _refusal(f"{where}.kind", f"one of {sorted(named)}", name)
        return from_json(named[name], value, where)
    (other,) = (option for option in options if option is not type(None))
    return from_json(other, value, where)


def _plain(kinds: tuple[type, ...], value: Any, where: str) -> dict[str, Any]:
    """Read a dictionary of plain values, whose kinds are told apart strictly: true is no number."""
    if not isinstance(value, dict):
        raise _refusal(where, "an object", value)
    for name, given in value.items():
        if type(given) not in kinds:
            names = ", ".join(kind.__name__ for kind in kinds)
            raise _refusal(f"{where}.{name}", f"one of the types {names}", given)
    return dict(value)


def _refusal(where: str, rule: str, value: Any) -> ValueError:
    shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."
    return ValueError(f"{where} must be {rule}, got {shown}; correct it or write the config again.")
