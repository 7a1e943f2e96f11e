"""Devices by their names: those that torch knows, and those that this machine has; how exactly they multiply."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch


def named(name: str) -> torch.device:
    """Return the device of a name, whether or not this machine has it.

    Raises:
        ValueError: If torch knows no such name.
    """
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"device must be a name that torch knows, such as cpu or cuda, got {name!r}; choose one of these."
        ) from error


def available(name: str) -> torch.device:
    """Return the device of a name, if numbers can be kept on it here.

    Raises:
        ValueError: If torch knows no such name, or this machine has no such device.
    """
    device = named(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device must be one of this machine, which has {torch.cuda.device_count()} CUDA devices, "
            f"got {name!r}; use cpu or another number."
        )
    if device.type not in ("cpu", "cuda"):
        try:
            torch.zeros((), device=device).item()
        except (RuntimeError, NotImplementedError, AssertionError) as error:
            raise ValueError(
                f"device must be one that this machine and this torch have, got {name!r}; use cpu."
            ) from error
    return device


@contextmanager
def rounded_products(*, allowed: bool) -> Iterator[None]:
    """Let a GPU round the operands of float32 products to TF32, ten bits of fraction, until the end of the block.

    A program that has set this through torch's newer settings has decided by itself, and they stay as they are.
    """
    before: str | None = None
    with suppress(RuntimeError):
        before = torch.get_float32_matmul_precision()
    if before is None or not allowed:
        yield
        return
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
