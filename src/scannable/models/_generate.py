"""Generation: tokens one after another, each drawn from what the model says of the text so far."""

import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scannable.models._stepper import stepper

REPAY = 256
"""How many tokens repay the time that it takes to capture graphs."""

COLDEST = torch.finfo(torch.float32).tiny
"""The least temperature that logits can be divided by."""

Sampler = Callable[[Float[Tensor, "B vocabulary"]], Int[Tensor, " B"]]


def generate(
    model: Any,
    prompt: Int[Tensor, "B T"],
    *,
    tokens: int | None = None,
    temperature: int | float = 1.0,
    top_k: int | None = None,
    top_p: int | float | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Int[Tensor, " B"]]:
    """Read the prompt, then yield one token of each text after another, for ever unless ``tokens`` says when to stop.

    Args:
        model: Anything with ``start``, ``prefill`` and ``step``, in evaluation mode.
        prompt: ``T >= 1`` tokens of each text.
        tokens: How many to yield; without end if left out.
        temperature: Logits are divided by it; 0, or what float32 takes for 0, takes the likeliest token.
        top_k: Draw from the so many likeliest tokens only.
        top_p: Draw from the fewest likeliest tokens only whose probabilities add up to at least this share.
        generator: What randomness comes from, on the model's device; torch's own if left out.

    Raises:
        TypeError: If the prompt is no tensor.
        ValueError: If the prompt is empty or an option makes no sense.
    """
    draw = sampler(temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
    if not isinstance(prompt, Tensor):
        raise TypeError(
            f"A prompt must be a tensor, got {type(prompt).__name__}; make one with torch.tensor."
        )
    if prompt.dim() != 2 or not prompt.shape[1]:
        raise ValueError(
            f"A prompt must have shape (B, T >= 1), got {tuple(prompt.shape)}; begin with some token."
        )
    if not (tokens is None or (isinstance(tokens, int) and tokens >= 0)):
        raise ValueError(
            f"tokens must be a whole number, at least 0, got {tokens}; leave it out to go on for ever."
        )
    return _go_on(model, prompt, tokens, draw)


def sampler(
    *,
    temperature: int | float = 1.0,
    top_k: int | None = None,
    top_p: int | float | None = None,
    generator: torch.Generator | None = None,
) -> Sampler:
    """Return the function that draws a token of each text from its logits; arguments are those of ``generate``.

    Raises:
        ValueError: If an option makes no sense.
    """
    if (
        not 0 <= temperature <= sys.float_info.max
        or not (top_k is None or (isinstance(top_k, int) and top_k >= 1))
        or not (top_p is None or 0 < top_p <= 1)
    ):
        raise ValueError(
            f"Drawing needs a finite temperature >= 0, a whole top_k >= 1 and 0 < top_p <= 1, got "
            f"temperature={temperature}, top_k={top_k}, top_p={top_p}; leave out what is not needed."
        )
    return lambda logits: _draw(logits.float(), float(temperature), top_k, top_p, generator)


def graphs_for(tokens: int | None) -> bool | None:
    """Say what graphs a stepper captures for so many tokens, or tokens without end: none if they do not repay."""
    return None if tokens is None or tokens >= REPAY else False


def _go_on(model: Any, prompt: Tensor, tokens: int | None, draw: Sampler) -> Iterator[Tensor]:
    with torch.no_grad():
        logits, stream = model.prefill(model.start(prompt.shape[0]), prompt)
    reader = None
    for left in itertools.count() if tokens is None else range(tokens - 1, -1, -1):
        token = draw(logits)
        yield token
        if left or tokens is None:
            reader = reader or stepper(model, stream, graphs=graphs_for(tokens))
            logits = reader.step(token)


def _draw(
    logits: Float[Tensor, "B vocabulary"],
    temperature: float,
    top_k: int | None,
    top_p: int | float | None,
    generator: torch.Generator | None,
) -> Int[Tensor, " B"]:
    if temperature < COLDEST:
        return logits.argmax(-1)
    # Less the largest, so that the others may only underflow.
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        kept = logits.topk(top_k)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, kept.indices, kept.values)
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(descending=True)
        shares = ordered.softmax(-1)
        # A token goes if those before it are enough; the first always stays, also where float32 takes 0 for top_p.
        enough = shares.cumsum(-1) - shares >= top_p
        enough[..., 0] = False
        logits = logits.masked_fill(enough.gather(-1, order.argsort(-1)), -torch.inf)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
