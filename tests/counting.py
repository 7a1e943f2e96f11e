"""How much torch is asked to do, which is the same on every machine."""

from collections.abc import Callable

from torch.utils._python_dispatch import TorchDispatchMode


class _Counter(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        return func(*args, **(kwargs or {}))


def operators(compute: Callable[[], object]) -> int:
    """How many operators of torch it runs."""
    with _Counter() as counter:
        compute()
    return counter.calls
