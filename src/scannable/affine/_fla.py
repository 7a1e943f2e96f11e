"""The kernels of flash-linear-attention (tested with 0.6.0), where that package is installed.

They are fast and have limits of their own: 16-bit inputs for the delta rules, heads of at most 256 channels, products
rounded to the dtype of the inputs, and decays taken as differences of cumulative sums: minus infinity is not for them.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def recurrence(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor | None,
    erase: Tensor | None,
    state: Tensor,
    *,
    before: bool,
    lengths: list[int] | None,
) -> tuple[Tensor, Tensor]:
    """Run a matrix recurrence; arguments are those of ``reference.recurrence``, in the dtype of the inputs.

    Raises:
        ImportError: If flash-linear-attention is not installed.
        ValueError: If the inputs are on a CPU, in float64, or in float32 where something is erased.
    """
    refused = (torch.float64, torch.float32) if erase is not None else (torch.float64,)
    if q.device.type == "cpu" or q.dtype in refused:
        raise ValueError(
            f"implementation='fla' needs a GPU and bfloat16 or float16 inputs (float32 too where nothing is erased), "
            f"got {q.dtype} on {q.device}; choose 'chunkwise', which takes any."
        )
    run = _kernel(decay, erase)
    if not q.shape[1]:
        return v, state
    given: dict[str, Any] = {"scale": 1.0, "initial_state": state, "output_final_state": True}
    if lengths is None:
        rows = torch.arange(q.shape[0], device=q.device)
        places, firsts = torch.zeros_like(rows), state
    else:
        counts = torch.tensor(lengths, device=q.device)
        bounds = F.pad(counts.cumsum(0), (1, 0))
        given["cu_seqlens"] = bounds
        places, firsts = bounds[:-1][counts > 0], state[counts > 0]
        rows = torch.zeros_like(places)
    if decay is not None:
        given["g"] = decay.float()
    if erase is not None:
        given["beta"] = erase.float()
    if not before:
        return run(q=q, k=k, v=v, **given)
    # What token t reads before it was written is what token t - 1 would read with t's query.
    outputs, last = run(q=q.roll(-1, 1), k=k, v=v, **given)
    first = (q[rows, places][:, :, None].float() @ firsts).squeeze(2).to(outputs.dtype)
    return outputs.roll(1, 1).index_put((rows, places), first), last


def _kernel(decay: Tensor | None, erase: Tensor | None) -> Callable[..., tuple[Tensor, Tensor]]:
    try:
        from fla.ops.delta_rule import chunk_delta_rule
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule
        from fla.ops.gla import chunk_gla
        from fla.ops.kda import chunk_kda
        from fla.ops.simple_gla import chunk_simple_gla
    except ImportError as error:
        raise ImportError(
            f"implementation='fla' needs flash-linear-attention and Triton, got {error}; "
            f"pip install flash-linear-attention, or choose 'chunkwise'."
        ) from error
    if erase is None:
        return chunk_gla if decay is not None and decay.dim() == 4 else chunk_simple_gla
    if decay is None:
        return chunk_delta_rule
    return chunk_kda if decay.dim() == 4 else chunk_gated_delta_rule
