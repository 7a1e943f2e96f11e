"""Long sequences in the memory of one block: a counter walks from block to block, forward once and backward again.

A block's gradient goes to its place in one buffer, where the backward pass of a plain cut would keep the
gradients of all blocks and then a copy of them joined.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.utils.checkpoint import checkpoint

from scannable.scans._aggregator import Aggregator, State
from scannable.scans._counter import Counter
from scannable.scans._tree import Tensors, flatten, unflatten

Buffers = dict[int, Tensor]
"""The gradient of a sequence in each backward pass under way, by the number of the pass."""


def block_scan(
    aggregator: Aggregator, leaves: Tensors, structure: Any, size: int, *, inclusive: bool
) -> State:
    """Return the prefixes of ``N >= 1`` leaves, keeping one counter a block for the backward pass.

    Args:
        aggregator: The operator.
        leaves: The sequence, tensors ``(B, N, ...)``.
        structure: The structure of a state.
        size: How many leaves a block has; the last may have fewer.
        inclusive: Whether place ``i`` has seen leaf ``i``.
    """
    counter = Counter.empty(aggregator, unflatten([x[:, 0] for x in leaves], structure))
    pieces: list[Tensors] = []
    for block in _cut(leaves, leaves[0].shape[1] - (not inclusive), size):
        args = counter, unflatten(block, structure)
        if torch.is_grad_enabled():
            prefixes, counter = checkpoint(Counter.extend, *args, use_reentrant=False)
        else:
            prefixes, counter = Counter.extend(*args)
        pieces.append(flatten(prefixes)[0])
    pieces.append([x.unsqueeze(1) for x in flatten(counter.prefix)[0]])
    if inclusive:
        pieces[0] = [x[:, 1:] for x in pieces[0]]
    return unflatten([torch.cat(tensors, 1) for tensors in zip(*pieces, strict=True)], structure)


def _cut(sequence: Tensors, length: int, size: int) -> Iterator[Tensors]:
    """Cut the first ``length`` states into blocks whose gradients share one buffer; a compiler plans that by itself."""
    buffers: list[Buffers] = [{} for _ in sequence]
    plain = torch.compiler.is_compiling() or not torch.is_grad_enabled()
    shared = [x.requires_grad and not plain for x in sequence]
    anchors = [_Open.apply(x, b) if s else x for x, b, s in zip(sequence, buffers, shared, strict=True)]
    for start in range(0, length, size):
        stop = min(start + size, length)
        yield [
            _Take.apply(anchor, x.detach(), start, stop, b) if s else x[:, start:stop]
            for anchor, x, b, s in zip(anchors, sequence, buffers, shared, strict=True)
        ]


class _Open(Function):
    """Stand for a sequence by a number; its backward pass comes after those of all blocks taken from it."""

    @staticmethod
    def forward(ctx: Any, sequence: Tensor, buffers: Buffers) -> Tensor:
        ctx.buffers = buffers
        return sequence.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        return ctx.buffers.pop(torch._C._current_graph_task_id()), None


class _Take(Function):
    """Take a block of a sequence; each block is taken once, so its gradient is set and not added."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, sequence: Tensor, start: int, stop: int, buffers: Buffers
    ) -> Tensor:
        ctx.shape, ctx.start, ctx.buffers = sequence.shape, start, buffers
        return sequence[:, start:stop]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        if torch.is_grad_enabled():
            raise NotImplementedError(
                "A scan that recomputes in blocks has gradients of first order only, got create_graph=True; "
                "take recompute=False."
            )
        number = torch._C._current_graph_task_id()
        if number not in ctx.buffers:
            ctx.buffers[number] = gradient.new_zeros(ctx.shape)
        ctx.buffers[number].narrow(1, ctx.start, gradient.shape[1]).copy_(gradient)
        return gradient.new_zeros(()), None, None, None, None
