"""The two calls that every row of the family makes, in any of their implementations."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scannable.affine import _elementwise, _lifted, reference
from scannable.affine._check import (
    check_decay,
    check_floating,
    check_inputs,
    check_mask,
    check_packed,
    check_state,
)
from scannable.affine._chunkwise import chunkwise
from scannable.affine._heads import for_each_head
from scannable.scans._option import check_option

Implementation = Literal["recurrent", "tree", "chunkwise", "fla"]
Read = Literal["after", "before"]
Precision = Literal["inputs", "float32"]


def default_implementation(device: torch.device | str) -> Implementation:
    """Return what ``implementation=None`` means on a device: ``"chunkwise"`` everywhere today."""
    torch.device(device)
    return "chunkwise"


def recurrence(
    q: Float[Tensor, "B T G K"],
    k: Float[Tensor, "B T G K"],
    v: Float[Tensor, "B T H V"],
    *,
    decay: Float[Tensor, "B T H"] | Float[Tensor, "B T H K"] | None = None,
    erase: Float[Tensor, "B T H"] | None = None,
    state: Float[Tensor, "n H K V"] | None = None,
    read: Read = "after",
    offsets: Sequence[int] | Tensor | None = None,
    mask: Bool[Tensor, "B T"] | None = None,
    precision: Precision = "inputs",
    implementation: Implementation | None = None,
    check: bool = False,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "n H K V"]]:
    """Run ``S_t = (I - erase_t k_t k_t^T) Diag(exp decay_t) S_{t-1} + write_t k_t v_t^T``, ``o_t = S_t^T q_t``.

    ``write`` is ``erase`` where that is given and one elsewhere. Nothing is scaled, normalised or mapped: that is the
    business of the rows ([1] v2, Table 1, whose states are the transpose of these). Gradients of any order are there in
    every form; transforms of ``torch.func`` need ``"recurrent"`` or ``"tree"``.

    Args:
        q: Queries, bfloat16, float16, float32 or float64; keys and values have the same dtype. ``G`` divides ``H``:
            each query and each key is that of ``H / G`` heads, one after the other.
        k: Keys; with ``erase`` they should have a length of one.
        v: Values.
        decay: In log space, at most zero; for each head, or for each channel of its keys. Minus infinity forgets all.
        erase: How much of what the state says of ``k_t`` is taken out first, 0 to 1; up to 2 for negative eigenvalues.
            Not checked: beyond, or with longer keys, states may grow without bound.
        state: What the call before returned, ``(B, H, K, V)``; for packed sequences one for each; zero if left out.
        read: ``"before"`` reads ``S_{t-1}`` in place of ``S_t``, as RWKV-6 does.
        offsets: For sequences packed end to end in one row: where each begins, and where the last ends.
        mask: False where there is padding: it changes no state, and its output is zero.
        precision: ``"inputs"``: where nothing is erased, products that are only read out may be taken of operands in
            the dtype of the inputs, though not of float16, whose range sums can leave. ``"float32"``: none is. What
            states and their gradients are made of never is.
        implementation: ``"recurrent"``: the definition, a loop over time. ``"tree"``: the generic scan of lifted pairs.
            ``"chunkwise"``: matrix products in chunks. ``"fla"``: flash-linear-attention's kernels, where installed.
            Left out: ``default_implementation(q.device)``.
        check: Look at values on any device; on a CPU that is always done. Not under ``torch.compile``.

    Returns:
        Outputs, in the dtype of ``v``, and the state behind each sequence: float32, or float64 if any input is.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape, a device, an option or a decay breaks the rules above.
        ImportError: If ``"fla"`` is asked for and is not there.

    [1] Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918.
    """
    name = _chosen(implementation, q.device if isinstance(q, Tensor) else "cpu")
    check_option("read", read, get_args(Read))
    check_option("precision", precision, get_args(Precision))
    check_inputs(q, k, v, decay, erase)
    batch, length = q.shape[:2]
    lengths = None if offsets is None else check_packed(offsets, batch, length)
    wide = state_dtype(q, k, v, decay, erase)
    shape = (batch if lengths is None else len(lengths), v.shape[2], q.shape[3], v.shape[3])
    state = _first(state, shape, wide, q.device)
    if mask is not None:
        check_mask(mask, batch, length)
        padding = ~mask[..., None]
        k, v = (x.masked_fill(padding[..., None], 0) for x in (k, v))
        q = q.masked_fill(padding[..., None], 0)
        if decay is not None:
            decay = decay.masked_fill(padding if decay.dim() == 3 else padding[..., None], 0)
        erase = None if erase is None else erase.masked_fill(padding, 0)
    if decay is not None:
        check_decay(decay, always=check)
    dtype, before = v.dtype, read == "before"
    narrow = precision == "inputs" and erase is None and dtype != torch.float16
    product = dtype if narrow else wide
    if name != "chunkwise":
        q, k = (for_each_head(x, v.shape[2]) for x in (q, k))
    with torch.autocast(q.device.type, enabled=False):
        if name == "fla":
            from scannable.affine._fla import recurrence as run_fla

            return run_fla(q, k, v, decay, erase, state, before=before, lengths=lengths)
        decay, erase = (None if x is None else x.to(wide) for x in (decay, erase))
        if name == "chunkwise":
            o, state = chunkwise(
                q, k, v, decay, erase, state, before=before, lengths=lengths, product=product
            )
            return o.to(dtype), state
        q, k, v = (x.to(wide) for x in (q, k, v))
        if name == "recurrent":
            run = lambda *x: reference.recurrence(*x, before=before)  # noqa: E731
            o, state = _each(run, [q, k, v, decay, erase], state, lengths)
        else:
            o, state = _lifted.recurrence(q, k, v, decay, erase, state, before=before, lengths=lengths)
    return o.to(dtype), state


def elementwise(
    write: Float[Tensor, "B T *S"],
    decay: Float[Tensor, "B T *S"],
    *,
    state: Float[Tensor, " n *S"] | None = None,
    offsets: Sequence[int] | Tensor | None = None,
    mask: Bool[Tensor, "B T"] | None = None,
    implementation: Implementation | None = None,
    check: bool = False,
) -> tuple[Float[Tensor, "B T *S"], Float[Tensor, " n *S"]]:
    """Run ``s_t = exp(decay_t) * s_{t-1} + write_t``, entry by entry (S4 with a real diagonal, S6).

    Args:
        write: What is added, of any shape from axis 2 on.
        decay: In log space, at most zero, of the same shape.
        state: What the call before returned, ``(B, *S)``; for packed sequences one for each; zero if left out.
        offsets: For sequences packed end to end in one row: where each begins, and where the last ends.
        mask: False where there is padding: it changes no state, and the state there is that of the token before.
        implementation: ``"recurrent"``, ``"tree"`` or ``"chunkwise"``, as in ``recurrence``.
        check: Look at values on any device; on a CPU that is always done.

    Returns:
        All states, and the last of each sequence: float32, or float64 for float64 inputs.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape, a device, an option or a decay breaks the rules above.
    """
    name = _chosen(implementation, write.device if isinstance(write, Tensor) else "cpu")
    if name == "fla":
        raise ValueError(
            "flash-linear-attention has no elementwise recurrence, got implementation='fla'; "
            "leave it out, or choose 'recurrent', 'tree' or 'chunkwise'."
        )
    check_floating({"write": write, "decay": decay})
    if write.dim() < 2 or write.shape != decay.shape or not write.shape[0]:
        raise ValueError(
            f"write and decay must have one shape (B >= 1, T, ...), got {tuple(write.shape)} and "
            f"{tuple(decay.shape)}; expand a decay that is the same everywhere, put batch first, tokens second."
        )
    batch, length = write.shape[:2]
    lengths = None if offsets is None else check_packed(offsets, batch, length)
    wide = state_dtype(write, decay)
    sequences = batch if lengths is None else len(lengths)
    state = _first(state, (sequences, *write.shape[2:]), wide, write.device)
    if mask is not None:
        check_mask(mask, batch, length)
        padding = ~mask.view(batch, length, *(1,) * (write.dim() - 2))
        write, decay = write.masked_fill(padding, 0), decay.masked_fill(padding, 0)
    check_decay(decay, always=check)
    with torch.autocast(write.device.type, enabled=False):
        write, decay = write.to(wide), decay.to(wide)
        if name == "tree":
            return _lifted.elementwise(write, decay, state, lengths=lengths)
        run = reference.elementwise if name == "recurrent" else _elementwise.elementwise
        return _each(run, [write, decay], state, lengths)


def _chosen(implementation: str | None, device: torch.device | str) -> str:
    if implementation is None:
        return default_implementation(device)
    check_option("implementation", implementation, get_args(Implementation))
    return implementation


def state_dtype(*inputs: Tensor | None) -> torch.dtype:
    """Return the dtype of states: float32, or float64 if anything is float64."""
    return torch.float64 if any(x is not None and x.dtype == torch.float64 for x in inputs) else torch.float32


def _first(state: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    if state is None:
        return torch.zeros(shape, dtype=dtype, device=device)
    check_state(state, shape, dtype, device)
    return state


def _each(
    run: Callable[..., tuple[Tensor, Tensor]],
    inputs: Sequence[Tensor | None],
    state: Tensor,
    lengths: list[int] | None,
) -> tuple[Tensor, Tensor]:
    """Run packed sequences one after another."""
    if not lengths:
        return run(*inputs, state)
    cut = [[None] * len(lengths) if x is None else x.split(lengths, 1) for x in inputs]
    found = [run(*one) for one in zip(*cut, state.split(1), strict=True)]
    outputs, states = zip(*found, strict=True)
    return torch.cat(outputs, 1), torch.cat(states)
