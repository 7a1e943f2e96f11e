"""What every model refuses, in the same words: configs, tokens and streams that make no sense."""

import math
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor

from scannable.models._stream import Stream, check_kind


def check_config(config: Any) -> None:
    """Refuse unknown names, sizes below one, widths that heads do not divide, and shares outside of 0..1.

    Raises:
        TypeError: If a number is no whole number, or a switch no bool.
        ValueError: If there is something else of these.
    """
    for field in fields(config):
        value: Any = getattr(config, field.name)
        if field.type in (int, bool) and type(value) is not field.type:
            raise TypeError(f"{field.name} must be of type {field.type.__name__}, got {value!r}.")
        if get_origin(field.type) is Literal and value not in get_args(field.type):
            raise ValueError(f"{field.name} must be one of {list(get_args(field.type))}, got {value!r}.")
        if field.type == int | None and not (value is None or type(value) is int):
            raise TypeError(f"{field.name} must be of type int, got {value!r}; leave it out for none.")
        if value is None:
            continue
        if field.type in (int, int | None) and value < 1:
            raise ValueError(f"{field.name} must be at least 1, got {value}; raise it.")
        if field.name == "dropout" and not 0 <= value < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1, got {value}; it is a share.")
        if field.name in ("norm", "logit_scale", "temperature") and not 0 < value < math.inf:
            raise ValueError(f"{field.name} must be finite and above zero, got {value}; change it.")
    if not hasattr(config, "heads"):
        return
    multiple = config.heads * (2 if config.positions == "rotary" else 1)
    if config.width % multiple:
        raise ValueError(
            f"A width must be a multiple of {multiple} with {config.positions} positions, "
            f"got width={config.width} and heads={config.heads}; change one of them."
        )


def check_chunk(chunk: int) -> None:
    """Refuse chunks of no tokens.

    Raises:
        ValueError: If ``chunk`` is less than one.
    """
    if chunk < 1:
        raise ValueError(f"A chunk needs at least one token, got chunk={chunk}; raise it.")


def check_tokens(tokens: Tensor, like: Tensor) -> Tensor:
    """Return tokens ``(B, T, *token)`` whose token shape, device and, for vectors, dtype are as in ``like``.

    Under autocast vectors are cast, as they would be on their way into a linear map.

    Raises:
        ValueError: If the tokens have the wrong shape, batch or device.
        TypeError: If they are no tensor, or vectors of another dtype.
    """
    if not isinstance(tokens, Tensor):
        raise TypeError(f"Tokens must be a tensor, got {type(tokens).__name__}; make one with torch.tensor.")
    shape, token = tuple(tokens.shape), tuple(like.shape[2:])
    if len(shape) != like.dim() or shape[0] == 0 or shape[2:] != token:
        wanted = ", ".join(["B >= 1", "T", *map(str, token)])
        raise ValueError(f"Tokens must have shape ({wanted}), got {shape}; put batch first, tokens second.")
    if tokens.device != like.device:
        raise ValueError(
            f"Tokens must be on the model's device, {like.device}, got {tokens.device}; move them with .to()."
        )
    if not like.is_floating_point() or tokens.dtype == like.dtype:
        return tokens
    if tokens.is_floating_point() and torch.is_autocast_enabled(tokens.device.type):
        return tokens.to(like.dtype)
    raise TypeError(f"Vectors must be {like.dtype} like the model, got {tokens.dtype}; cast one of them.")


def check_reading(stream: Stream, tokens: Tensor, logits: str, *, owner: object) -> None:
    """Refuse to read tokens into a stream that bears another mark or has another batch.

    Raises:
        TypeError: If it is no stream.
        ValueError: If so, or if ``logits`` asks for what there is not.
    """
    check_kind(stream)
    if stream.owner != owner:
        raise ValueError(
            "The stream belongs to another model, got it here; read on with its own, start one, or take it over with "
            "model.restore(stream.tensors())."
        )
    if logits not in ("last", "all"):
        raise ValueError(f"logits must be 'last' or 'all', got {logits!r}.")
    if not tokens.shape[1] and logits == "last":
        raise ValueError("There is no last output of no tokens, got T=0; ask for logits='all'.")
    if stream.batch != tokens.shape[0]:
        raise ValueError(
            f"The stream is a batch of {stream.batch}, got tokens of shape {tuple(tokens.shape)}; "
            f"start a stream for each batch size."
        )


def check_batch(batch: int) -> None:
    """Refuse to start streams of no text.

    Raises:
        TypeError: If ``batch`` is no whole number.
        ValueError: If it is less than one.
    """
    if type(batch) is not int:
        raise TypeError(f"A batch must be a whole number of texts, got {batch!r}; give an int.")
    if batch < 1:
        raise ValueError(
            f"A stream needs a batch of at least one text, got batch={batch}; skip empty batches."
        )


def as_sequence(token: Tensor) -> Tensor:
    """See one token of each text, ``(B, *token)``, as a sequence ``(B, 1, *token)``.

    Raises:
        ValueError: If there is no batch axis.
    """
    if not token.dim():
        raise ValueError(
            "A step reads one token of each text, shape (B, ...), got shape (); add a batch axis."
        )
    return token.unsqueeze(1)
