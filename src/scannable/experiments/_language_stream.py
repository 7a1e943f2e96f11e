"""What a token of one long stream costs a trained model."""

import copy
from typing import Any

import numpy as np
import torch

from scannable.data import Text
from scannable.experiments._latency import latencies, summary
from scannable.models import Decoder
from scannable.models._stepper import stepper


def streamed(model: Any, text: Text, count: int) -> dict[str, Any] | None:
    """Time steps in place over ``count`` tokens of a text after the first chunk, in bfloat16 on a GPU.

    Returns:
        The ``median``, ``p99``, ``p999`` and ``mean`` of seconds a token, the ``state_bytes`` at the end, and the mean
        over the first and the last thousand tokens. None for a stream that grows with every token:
        ``scannable bench decode`` times those.
    """
    if not count or (isinstance(model, Decoder) and model.stack.window is None):
        return None
    device = next(model.parameters()).device
    model = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    if device.type == "cuda":
        model = model.bfloat16()
    ahead = getattr(model, "chunk", None) or getattr(getattr(model, "stack", None), "window", None) or 1
    ids = torch.from_numpy(np.resize(text.ids, ahead + count).astype(np.int64)).to(device)
    with torch.no_grad():
        _, stream = model.prefill(model.start(1), ids[None, :ahead])
        reader = stepper(model, stream, compile=device.type == "cuda")
        seconds = latencies(reader.step, ids[ahead:, None])
    return {"tokens": count, "after": ahead, **summary(seconds), "state_bytes": reader.nbytes}
