"""A stack of blocks that reads one slot at a time in memory of a fixed size."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from scannable.models._stepper_work import Work, fastest
from scannable.modules import Codes
from scannable.modules._rotary import angles
from scannable.modules._transformer import Attention, Block, Cache, Transformer

MLP = (nn.Linear, nn.GELU, nn.Linear)
PARTS = {
    Transformer,
    Block,
    Attention,
    Codes,
    nn.LayerNorm,
    nn.Identity,
    nn.Dropout,
    nn.Sequential,
    nn.ModuleList,
    *MLP,
}
"""What a stack that can be read is made of."""


def readable(stack: Transformer) -> bool:
    """Tell whether a stack is as this library makes it: weights of parts that are known say all that it does."""
    mlps: list[Any] = [block.mlp for block in cast("Any", stack.blocks)]
    return all(type(part) in PARTS and untouched(part) for part in stack.modules()) and all(
        tuple(map(type, mlp)) == MLP and mlp[1].approximate == "tanh" for mlp in mlps
    )


def untouched(part: nn.Module) -> bool:
    """Tell whether a part does what its class does, without hooks or a method of its own."""
    return not (part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part))


class SlotStack:
    """What a stack keeps of the last ``S`` slots, in a ring: the slot at position ``p`` is in place ``p mod S``.

    Args:
        stack: The blocks, in evaluation mode.
        batch: ``B``.
        slots: ``S``.
        ring: Whether there may be positions from ``S`` on; if not, angles are looked up.
        full: Whether all places are filled from the first step on.
        work: How a step is worked out; left out, the fastest way known.
    """

    def __init__(
        self,
        stack: Transformer,
        batch: int,
        slots: int,
        *,
        ring: bool = True,
        full: bool = False,
        work: Work | None = None,
    ) -> None:
        like, shape = next(stack.parameters()).detach(), (2, batch, stack.heads, slots, stack.size)
        self.stack, self.slots, self.ordered = stack, slots, not (ring or full)
        self.work = fastest(stack, batch) if work is None else work
        # One tensor a layer: a compiler writes in place into whole tensors, not into parts of one.
        self.kept = [like.new_zeros(shape) for _ in stack.blocks]
        """Keys and values of every layer."""
        self.bias = None if full else like.new_zeros(slots)
        self.position = torch.zeros(1, dtype=torch.long, device=like.device)
        self.table = None
        if stack.rotary and not ring:
            self.table = angles(torch.arange(slots, device=like.device), stack.size, like.dtype)

    def step(self, x: Float[Tensor, "B D"], head: Float[Tensor, "V D"]) -> Float[Tensor, "B V"]:
        """Read one slot and keep it, in the place of the oldest; return its logits."""
        place = self.position if self.ordered else self.position % self.slots
        rotation, blocks = None, cast("Any", self.stack.blocks)
        linear, attend = self.work.linear, self.work.attend
        if self.bias is not None:
            self.bias.index_fill_(0, place, 0.0)
        if self.stack.slots is not None:
            x = x + self.stack.slots.weight[self.position]
        if self.stack.rotary:
            rotation = self._angles(place)
        for block, kept in zip(blocks, self.kept, strict=True):
            attention, (up, _, down) = block.attention, block.mlp
            qkv = linear(x, attention.qkv.weight, attention.qkv.bias, norm=block.attention_norm)
            read = attend(qkv, kept, rotation, place, self.bias, ordered=self.ordered)
            x = linear(read, attention.out.weight, attention.out.bias, add=x)
            wide = linear(x, up.weight, up.bias, norm=block.mlp_norm, gelu=True)
            x = linear(wide, down.weight, down.bias, add=x)
        self.position.add_(1)
        return linear(x, head, norm=self.stack.norm)

    def load(self, cache: Cache) -> None:
        """Forget all, and keep the slots of a value form's cache."""
        end, layers = cache
        self.position.fill_(end)
        if self.bias is not None:
            self.bias.fill_(-torch.inf)
        if not layers:
            for kept in self.kept:
                kept.zero_()
            return
        count = layers[0][0].shape[1]
        if self.bias is not None:
            self.bias.index_fill_(0, self._places(end, count), 0.0)
        for kept, layer in zip(self.kept, layers, strict=True):
            # What is left of other slots is overwritten too, in one go.
            filled = F.pad(torch.stack(layer).transpose(2, 3), (0, 0, 0, self.slots - count))
            kept.copy_(filled.roll((end - count) % self.slots, 3))

    def cache(self, end: int, count: int) -> Cache:
        """Copy the last ``count`` slots before position ``end``, as a value form's cache."""
        places = self._places(end, count)
        copies = (x.index_select(3, places).transpose(2, 3).contiguous() for x in self.kept)
        return end, tuple((keys.clone(), values.clone()) for keys, values in copies)

    def _angles(self, place: Tensor) -> Tensor:
        if self.table is None:
            return angles(self.position, self.stack.size, self.kept[0].dtype)
        return self.table.index_select(1, place)

    def _places(self, end: int, count: int) -> Tensor:
        return torch.arange(end - count, end, device=self.position.device) % self.slots
