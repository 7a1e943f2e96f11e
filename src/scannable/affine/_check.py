"""What the recurrences refuse, in one place and in one kind of words."""

from collections.abc import Sequence

import torch
from torch import Tensor

from scannable.scans._packed import check_offsets

FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def check_inputs(q: Tensor, k: Tensor, v: Tensor, decay: Tensor | None, erase: Tensor | None) -> None:
    """Refuse inputs of the matrix recurrence that do not fit together.

    Raises:
        TypeError: If they are not floating-point tensors, or queries, keys and values differ in dtype.
        ValueError: If their shapes or devices do not fit.
    """
    gates = {name: x for name, x in (("decay", decay), ("erase", erase)) if x is not None}
    check_floating({"q": q, "k": k, "v": v, **gates})
    if not q.dtype == k.dtype == v.dtype:
        raise TypeError(
            f"q, k and v must have one dtype, got {q.dtype}, {k.dtype} and {v.dtype}; cast them to one."
        )
    if q.dim() != 4 or q.shape != k.shape or not q.shape[0] or not q.shape[2]:
        raise ValueError(
            f"q and k must have one shape (B >= 1, T, G >= 1, K), got {tuple(q.shape)} and {tuple(k.shape)}; "
            f"give a query and a key to every group of heads."
        )
    if v.dim() != 4 or v.shape[:2] != q.shape[:2] or not v.shape[2] or v.shape[2] % q.shape[2]:
        raise ValueError(
            f"v must have shape (B, T, H, V) with the B and T of q, and H heads in its G groups, here "
            f"{tuple(q.shape[:3])}, got {tuple(v.shape)}; give each head its own values."
        )
    each = tuple(v.shape[:3])
    if decay is not None and tuple(decay.shape) not in (each, (*each, q.shape[3])):
        raise ValueError(
            f"decay must have shape (B, T, H) or (B, T, H, K), here {each} or {(*each, q.shape[3])}, "
            f"got {tuple(decay.shape)}; a decay that is the same everywhere is expanded to it."
        )
    if erase is not None and tuple(erase.shape) != each:
        raise ValueError(
            f"erase must have shape (B, T, H), here {each}, got {tuple(erase.shape)}; "
            f"it is one strength for each head."
        )


def check_vectors(x: Tensor, width: int, dtype: torch.dtype) -> None:
    """Refuse what a layer of that width and dtype cannot read.

    Raises:
        TypeError: If it is no tensor, or of another dtype and not under autocast.
        ValueError: If its shape is another.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor, got {type(x).__name__}; make one with torch.tensor.")
    if x.dim() != 3 or x.shape[2] != width or not x.shape[0]:
        raise ValueError(
            f"x must have shape (B >= 1, T, {width}), got {tuple(x.shape)}; put batch first, tokens second."
        )
    if x.dtype not in FLOATING or (x.dtype != dtype and not torch.is_autocast_enabled(x.device.type)):
        raise TypeError(f"x must be {dtype} like the layer, got {x.dtype}; cast one of them.")


def check_sizes(**sizes: int | float) -> None:
    """Refuse parts of a layer that have nothing in them.

    Raises:
        ValueError: If one is below one.
    """
    for name, size in sizes.items():
        if not size >= 1:
            raise ValueError(f"{name} must be at least 1, got {size}; raise it.")


def check_floating(given: dict[str, Tensor]) -> None:
    """Refuse what is not a floating-point tensor, and tensors on several devices."""
    for name, x in given.items():
        if not isinstance(x, Tensor) or x.dtype not in FLOATING:
            got = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"{name} must be a floating-point tensor, got {got}; convert it with .float().")
    if len({x.device for x in given.values()}) > 1:
        places = {name: str(x.device) for name, x in given.items()}
        raise ValueError(f"All inputs must be on one device, got {places}; move them with .to().")


def check_decay(decay: Tensor, *, always: bool) -> None:
    """Refuse a decay that grows; looked at on the CPU, or anywhere if ``always``.

    Raises:
        ValueError: If a value is above zero.
    """
    if torch.compiler.is_compiling() or (decay.device.type != "cpu" and not always) or not decay.numel():
        return
    # Inside torch.func's transforms no value can be looked at.
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return
    above = decay.detach()[decay > 0]
    if above.numel():
        raise ValueError(
            f"decay is in log space and must be at most 0, got up to {float(above.max()):.3g}; "
            f"pass log(gate), for a gate from 0 to 1."
        )


def check_state(state: Tensor, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a state of another shape, dtype or device.

    Raises:
        TypeError: If it is no tensor, or of another dtype.
        ValueError: If its shape or device differs.
    """
    if not isinstance(state, Tensor) or state.dtype != dtype:
        got = state.dtype if isinstance(state, Tensor) else type(state).__name__
        raise TypeError(
            f"The state must be {dtype} here (float64 as soon as any input is, float32 elsewhere), got {got}; "
            f"pass what the call before returned."
        )
    if tuple(state.shape) != tuple(shape) or state.device != device:
        raise ValueError(
            f"The state must have shape {tuple(shape)} on {device}, one for each sequence, "
            f"got {tuple(state.shape)} on {state.device}; pass what the call before returned."
        )


def check_mask(mask: Tensor, batch: int, length: int) -> None:
    """Refuse a mask that is not ``(B, T)`` of bools.

    Raises:
        ValueError: If so.
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != (batch, length):
        got = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(
            f"mask must be torch.bool of shape (B, T), here {(batch, length)}, got {got}; "
            f"True is a token, False padding."
        )


def check_packed(offsets: Sequence[int] | Tensor, batch: int, length: int) -> list[int]:
    """Return the lengths of packed sequences.

    Raises:
        TypeError: If the offsets are not whole numbers.
        ValueError: If they do not rise from 0 to ``T``, or there is a batch.
    """
    if batch != 1:
        raise ValueError(
            f"Packed sequences need a batch of one row, (1, sum of T, ...), got a batch of {batch}; "
            f"join the rows along axis 1."
        )
    return check_offsets(offsets, length)
