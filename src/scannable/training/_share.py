"""What is trained, as several processes run it together, and who keeps which part of its weights."""

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from scannable.modules import CrossInference
from scannable.tasks import Batch
from scannable.training._config import Parallel
from scannable.training._distributed import Peers


class Objective(nn.Module):
    """A model and what it is trained for, as one module, from a batch to its loss."""

    def __init__(self, model: nn.Module, loss: Callable[[Any, Batch], Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Batch) -> Tensor:
        return self.loss(self.model, batch)


def share(
    objective: Any, parallel: Parallel, peers: Peers, device: torch.device, *, compiled: bool
) -> Callable[..., Tensor]:
    """Return the objective as all processes run it together; gradients are means over them.

    Parameters stay where they are in the modules; with ``"shard"`` they become ``DTensor``.

    Args:
        objective: A module from a batch to its loss, with the model's parameters.
        parallel: ``"replicate"``: each keeps the whole and gradients are averaged (DistributedDataParallel);
            ``"shard"``: each keeps its part of weights, gradients and moments, and a layer is put together while it
            runs (FSDP2, ``fully_shard``). The same to one process.
        peers: The processes.
        device: Where the objective is.
        compiled: Run through torch.compile: as a whole, or layer by layer where parts are put together in between, and
            where the model asks for it (``compiled_by_layer``).
    """
    alone = peers.count == 1
    if not alone and parallel == "shard":
        _shard(objective, peers, device, compiled=compiled)
        return objective
    whole_objective: Any = objective
    if compiled and getattr(objective.model, "compiled_by_layer", False):
        _compile_layers(objective)
        objective.model.head.loss = _compiled(_own(objective.model.head.loss, objective))
    elif compiled:
        objective.forward = _own(objective.forward, objective)
        whole_objective = torch.compile(objective)
    return whole_objective if alone else _replicate(whole_objective)


@contextmanager
def together(objective: Any) -> Iterator[None]:
    """Let a model that is kept in parts be called by itself, without its objective, by all processes."""
    if not hasattr(objective, "unshard"):
        yield
        return
    objective.unshard()
    try:
        yield
    finally:
        objective.reshard()


def whole(x: Tensor) -> Tensor:
    """Return a tensor that is kept in parts as a whole; all processes must ask for it."""
    gather = getattr(x, "full_tensor", None)
    return x if gather is None else gather()


def part(x: Tensor, like: Any) -> Tensor:
    """Return the part of a whole tensor that this process keeps, if it keeps a part only of the tensor ``like``."""
    if not hasattr(like, "full_tensor"):
        return x
    from torch.distributed.tensor import distribute_tensor

    # Every process has the whole, so nothing is sent.
    return distribute_tensor(x.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def _replicate(objective: Any) -> nn.Module:
    # Without chunks to merge no loss reaches the aggregator. To look for such parameters also keeps the buckets of
    # the first step, on which the rounding of sums depends, so that a resumed run adds up as an uninterrupted one.
    return DistributedDataParallel(objective, find_unused_parameters=True)


def _shard(objective: nn.Module, peers: Peers, device: torch.device, *, compiled: bool) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    # Keys and values that a block returns are views, and nobody writes to them.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(device.type, (peers.count,))
    stacks: list[Any] = [module.stack for module in objective.modules() if isinstance(module, CrossInference)]
    within = {id(block) for stack in stacks for block in stack.blocks}
    if compiled:
        _compile_layers(objective)
    for block in _blocks(objective):
        if id(block) not in within:
            fully_shard(block, mesh=mesh)
    for stack in stacks:
        # Its blocks are asked for keys and values without being run, so they are put together with the stack.
        fully_shard(stack, mesh=mesh)
        register_fsdp_forward_method(stack, "extend")
        register_fsdp_forward_method(stack, "remember")
    fully_shard(objective, mesh=mesh)


def _compile_layers(objective: nn.Module) -> None:
    """Compile each layer by itself; layers that are alike share what is compiled."""
    for block in _blocks(objective):
        block.forward = _compiled(_own(block.forward, objective))


def _own(method: Any, objective: Any) -> Any:
    """Bind a method to code of its own for each kind of model.

    Code that was compiled for eight kinds (torch's ``recompile_limit``) runs as it is for the ninth, without a word.
    """
    return MethodType(_copy(method.__func__, str(objective.model)), method.__self__)


@functools.cache
def _copy(function: FunctionType, kind: str) -> FunctionType:
    code, given = function.__code__.replace(), function.__defaults__
    copy = FunctionType(code, function.__globals__, function.__name__, given, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _compiled(plain: Callable[..., Any]) -> Callable[..., Any]:
    """Compile what is run for its gradients; checks, of other shapes and now and then, run it as it is."""
    # Up to torch 2.11 the analysis stops at some shapes that vary (pytorch/pytorch#181563), as a scan's do.
    compiled = torch.compile(plain, options={"triton.coalesce_tiling_analysis": False})

    def run(*given: Any, **named: Any) -> Any:
        return (compiled if torch.is_grad_enabled() else plain)(*given, **named)

    return run


def _blocks(module: nn.Module) -> list[Any]:
    """Return the layers of a model, each once: what its lists named ``blocks`` hold."""
    lists: list[Any] = [part for name, part in module.named_modules() if name.split(".")[-1] == "blocks"]
    return [block for blocks in lists for block in blocks]
