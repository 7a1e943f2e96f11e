"""Devices by their names: those that torch knows, and those that this machine has."""

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
