"""What a token of one long stream costs a model."""

import copy
from typing import Any

import numpy as np
import torch

from scannable.data import Text
from scannable.experiments._bench_decode_peer import FullStepper, fastest_attention
from scannable.experiments._latency import ENDS, latencies, summary
from scannable.models import Decoder
from scannable.models._stepper import stepper
from scannable.models._stepper_base import Stepper
from scannable.models._stepper_graph import Programs


def streamed(model: Any, text: Text, count: int) -> dict[str, Any] | None:
    """Time steps in place over ``count`` tokens of a text after the first chunk, in bfloat16 on a GPU.

    A decoder without a window, whose stream grows with every token, is timed at the end only: over the last thousand
    tokens or fewer, each reading ``count`` slots with the attention that is fastest there.

    Returns:
        The ``median``, ``p99``, ``p999`` and ``mean`` of seconds a token, the ``state_bytes`` at the end, and the mean
        over the first and the last thousand of the ``tokens`` that were timed, ``after`` so many others. None for a
        model whose positions end.
    """
    if not count or getattr(getattr(model, "stack", None), "slots", None) is not None:
        return None
    device = next(model.parameters()).device
    model = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    if device.type == "cuda":
        model = model.bfloat16()
    grows = isinstance(model, Decoder) and model.stack.window is None
    ahead = getattr(model, "chunk", None) or getattr(getattr(model, "stack", None), "window", None) or 1
    after, tokens = (count - min(count, ENDS), min(count, ENDS)) if grows else (ahead, count)
    ids = torch.from_numpy(np.resize(text.ids, after + tokens).astype(np.int64)).to(device)
    with torch.no_grad():
        reader = _full(model, count, device) if grows else _stepper(model, ids[None, :after])
        seconds = latencies(reader.step, ids[after:, None])
    return {"tokens": tokens, "after": after, **summary(seconds), "state_bytes": reader.nbytes}


def _stepper(model: Any, ids: torch.Tensor) -> Stepper:
    _, stream = model.prefill(model.start(1), ids)
    return stepper(model, stream, compile=ids.device.type == "cuda")


def _full(model: Any, slots: int, device: torch.device) -> Stepper:
    choice = fastest_attention(model.stack, 1, slots, device)
    return FullStepper(model, 1, slots, choice, Programs(device), compile=device.type == "cuda")
