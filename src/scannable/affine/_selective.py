"""The selective scan, which S6 and Mamba share."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from scannable.affine._check import check_state
from scannable.affine._layer import Carry
from scannable.affine._recurrence import default_implementation, elementwise

ENTRIES = {"cpu": 1 << 20, "cuda": 1 << 26}
"""How many numbers the states of a block of tokens have: few enough for the cache, enough to keep a GPU busy."""


def selective(
    u: Float[Tensor, "B T D"],
    delta: Float[Tensor, "B T D"],
    A: Float[Tensor, "D S"],
    B: Float[Tensor, "B T S"],
    C: Float[Tensor, "B T S"],
    carry: Carry,
) -> Float[Tensor, "B T D"]:
    """Run ``s_t = exp(delta_t A) * s_{t-1} + (delta_t * u_t) B_t^T``, ``y_t = s_t C_t``, with states ``(D, S)``.

    This is Algorithm 2 of Gu and Dao, arXiv 2312.00752, as in the authors' code: of the two zero-order holds of their
    Equation 4 that of ``A`` is exact, and that of ``B`` is taken to first order in ``delta``.

    States are ``S`` times as large as all that comes in. The chunkwise form therefore never holds those of more than a
    block of tokens: of the others it keeps the last, and the backward pass makes the rest again (Section 3.3.2 there).

    Args:
        u: Inputs.
        delta: Time steps, at least zero, in ``carry.wide``.
        A: Rates, at most zero, in ``carry.wide``.
        B: How an input enters the state.
        C: How the state is read.
        carry: The call's state.

    Returns:
        Outputs, in the dtype of ``u``.
    """
    entries = ENTRIES.get(u.device.type, ENTRIES["cuda"])
    tokens = max(1, entries // (len(u) * A.numel()))
    form = carry.implementation or default_implementation(u.device)
    if u.shape[1] <= tokens or form != "chunkwise":
        return _read(carry.elementwise(*_steps(u, delta, A, B)), C, u.dtype)
    sequences = len(u) if carry.lengths is None else len(carry.lengths)
    first = A.new_zeros(sequences, *A.shape) if carry.state is None else carry.state.memory
    check_state(first, (sequences, *A.shape), carry.wide, u.device)
    lengths = [u.shape[1]] if carry.lengths is None else carry.lengths
    states = [first] if carry.lengths is None else first.split(1)
    outputs, ended = [], []
    for state, *sequence in zip(states, *(x.split(lengths, 1) for x in (u, delta, B, C)), strict=True):
        for block in zip(*(x.split(tokens, 1) for x in sequence), strict=True):
            output, state = checkpoint(
                _block, A, *block, state, use_reentrant=False, preserve_rng_state=False
            )
            outputs.append(output)
        ended.append(state)
    carry.found["memory"] = torch.cat(ended)
    return torch.cat(outputs, 1)


def _block(A: Tensor, u: Tensor, delta: Tensor, B: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    states, last = elementwise(*_steps(u, delta, A, B), state=state)
    return _read(states, C, u.dtype), last


def _steps(u: Tensor, delta: Tensor, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Return what is written, and the decay in log space, both ``(B, T, D, S)``."""
    return (delta * u)[..., None] * B[..., None, :].to(delta.dtype), delta[..., None] * A


def _read(states: Tensor, C: Tensor, dtype: torch.dtype) -> Tensor:
    with torch.autocast(states.device.type, enabled=False):
        return (states @ C[..., None].to(states.dtype)).squeeze(-1).to(dtype)
