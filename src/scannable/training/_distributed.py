"""Several processes that share every step, as torchrun starts them: who they are, and what they agree on.

They make the same decisions in the same order, so whatever only one of them can know (a clock, Ctrl-C, the disk) is
agreed on before it decides anything.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

_GROUPS = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Peers:
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: Its own number, from 0.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def agree(self, *votes: bool) -> list[bool]:
        """Tell for each question whether any process votes for it; on the CPU, so that no GPU is waited for."""
        if self.count == 1:
            return list(votes)
        counted = torch.tensor(votes, dtype=torch.uint8)
        dist.all_reduce(counted, dist.ReduceOp.MAX)
        return counted.bool().tolist()

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean over processes of a tensor that has one shape everywhere."""
        if self.count == 1:
            return x
        total = x.clone()
        dist.all_reduce(total)
        return total / self.count

    def gather(self, x: Tensor) -> list[Tensor]:
        """Return the tensors of all processes, in order; they have one shape and are on the CPU."""
        if self.count == 1:
            return [x]
        found = [torch.zeros_like(x) for _ in range(self.count)]
        dist.all_gather(found, x)
        return found

    def lead(self, act: Callable[[], T]) -> T:
        """Let the first process act while the others wait; its result, or its error, is everyone's.

        In the others the error has the attribute ``agreed``, so that one of them speaks for all.
        """
        if self.count == 1:
            return act()
        outcome: list[Any] = [None, None]
        if self.leads:
            try:
                outcome[0] = act()
            except Exception as error:  # noqa: BLE001 - raised again, in all processes
                outcome[1] = error
        dist.broadcast_object_list(outcome)
        result, error = outcome
        if error is not None:
            if not self.leads:
                error.agreed = True
            raise error
        return result


ALONE = Peers()
"""The only process."""


def started() -> tuple[int, int]:
    """Return this process's number and how many there are, as torchrun says before they join; ``(0, 1)`` without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: torch.device) -> Iterator[Peers]:
    """Join the processes that torchrun started, for as long as the context is open; alone if it started none.

    Raises:
        ValueError: If they cannot have a device each.
    """
    if started()[1] == 1:
        yield ALONE
        return
    if device.type == "cuda":
        _take_gpu(device)
    store, rank, count = next(dist.rendezvous("env://"))
    # What an earlier group of the same processes left in the store would be taken for this one's.
    store = dist.PrefixStore(f"scannable {next(_GROUPS)}", store)
    # Tensors on the CPU go by gloo even then: what is agreed on must not wait for a GPU.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count)
    try:
        yield Peers(rank=rank, count=count)
    except BaseException:
        # NCCL says goodbye together, so a process that fails alone would wait for the others, and torchrun for it.
        if device.type != "cuda":
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def _take_gpu(device: torch.device) -> None:
    """Make the GPU of this process's number the one that "cuda" means."""
    local, here = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if device.index is not None:
        raise ValueError(
            f"With several processes device must be cuda or cpu, since each takes the GPU of its number, got "
            f"'{device}'; name cuda, and choose GPUs by CUDA_VISIBLE_DEVICES."
        )
    if local >= here:
        raise ValueError(
            f"Every process must have a GPU of its own, got {here} on this machine and a process number {local}, "
            f"counted from 0; lower --nproc-per-node to {here}."
        )
    torch.cuda.set_device(local)
