"""Whether steps in place are right: against a wider dtype, since the value form rounds as much as they do."""

import copy
from typing import Any

import torch
from torch import Tensor

from scannable.models._stepper_base import Stepper

WIDER = {torch.bfloat16: torch.float32, torch.float32: torch.float64}
"""The dtype that tells how far logits are off."""
SLACK = 2.0
"""How many times as far off as those of the value form those in place may be."""


def verified(reader: Stepper, model: Any, stream: Any, read: Tensor, more: Tensor) -> float:
    """Return how far logits in place are from those of a wider dtype, if the value form's are hardly nearer.

    Two orders of the same sums differ by more than a fixed tolerance in some models of bfloat16, and by far less
    in others.

    Args:
        reader: Steps in place, which go on after the tokens ``read``.
        model: The model, of one dtype.
        stream: Its stream after the same tokens.
        read: Tokens ``(T, B)``.
        more: Tokens ``(n, B)`` that are read one by one, whose logits count.

    Returns:
        The largest distance of a step, relative to the norm of its logits.

    Raises:
        RuntimeError: If it is more than ``SLACK`` times that of the value form.
    """
    exact = copy.deepcopy(model).to(WIDER[next(model.parameters()).dtype])
    truth, found, expected = stream_after(exact, read), 0.0, 0.0
    for token in more:
        known, stream = model.step(stream, token)
        sure, truth = exact.step(truth, token)
        found = max(found, _distance(reader.step(token), sure))
        expected = max(expected, _distance(known, sure))
    if not found <= SLACK * expected:
        raise RuntimeError(
            f"A benchmark verifies before it times, but logits of {type(reader).__name__} have a relative error "
            f"of {found:.1e}, and those of the value form {expected:.1e}; run the tests of scannable.models first."
        )
    return found


def stream_after(model: Any, tokens: Tensor) -> Any:
    """Return a stream that has read tokens ``(T, B)``."""
    with torch.no_grad():
        return model.prefill(model.start(tokens.shape[1]), tokens.T.contiguous())[1]


def _distance(found: Tensor, exact: Tensor) -> float:
    return float((found.to(exact.dtype) - exact).norm() / exact.norm())
