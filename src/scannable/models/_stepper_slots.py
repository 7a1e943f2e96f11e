"""A stack of blocks that reads one slot at a time in memory of a fixed size."""

import torch
from jaxtyping import Float
from torch import Tensor

from scannable.modules._slots import SlotAttention, Slots, fused
from scannable.modules._transformer import Cache, Transformer


class SlotStack:
    """What a stack keeps of the last ``S`` slots, in a ring: the slot at position ``p`` is in place ``p mod S``.

    Args:
        stack: The blocks.
        batch: ``B``.
        slots: ``S``.
        masked: Whether some places may be empty; if not, all are read from the first step on.
        attention: How a slot reads the others.
    """

    def __init__(
        self,
        stack: Transformer,
        batch: int,
        slots: int,
        *,
        masked: bool = True,
        attention: SlotAttention = fused,
    ) -> None:
        like, shape = stack.norm.weight.detach(), (batch, stack.heads, slots, stack.size)
        self.stack, self.slots, self.attention = stack, slots, attention
        # One tensor for each: a compiler writes in place into whole tensors, not into parts of one.
        self.keys = [like.new_zeros(shape) for _ in stack.blocks]
        self.values = [like.new_zeros(shape) for _ in stack.blocks]
        self.bias = like.new_zeros(slots) if masked else None
        self.position = torch.zeros(1, dtype=torch.long, device=like.device)

    def step(self, x: Float[Tensor, "B 1 D"]) -> Float[Tensor, "B 1 D"]:
        """Read one slot and keep it, in the place of the oldest."""
        place = self.position % self.slots
        if self.bias is not None:
            self.bias.index_fill_(0, place, 0.0)
        layers = [
            Slots(keys, values, place, self.bias, self.attention)
            for keys, values in zip(self.keys, self.values, strict=True)
        ]
        read = self.stack.step(x, self.position, layers)
        self.position.add_(1)
        return read

    def load(self, cache: Cache) -> None:
        """Forget all, and keep the slots of a value form's cache."""
        end, layers = cache
        self.position.fill_(end)
        if self.bias is not None:
            self.bias.fill_(-torch.inf)
        for values in self.values:
            values.zero_()
        if not layers:
            return
        places = self._places(end, layers[0][0].shape[1])
        if self.bias is not None:
            self.bias.index_fill_(0, places, 0.0)
        for keys, values, (k, v) in zip(self.keys, self.values, layers, strict=True):
            keys.index_copy_(2, places, k.transpose(1, 2))
            values.index_copy_(2, places, v.transpose(1, 2))

    def cache(self, end: int, count: int) -> Cache:
        """Copy the last ``count`` slots before position ``end``, as a value form's cache."""
        places = self._places(end, count)
        copy = [
            [x.index_select(2, places).transpose(1, 2).contiguous() for x in kept] for kept in self._kept()
        ]
        return end, tuple((keys, values) for keys, values in zip(*copy, strict=True))

    def tensors(self) -> list[Tensor]:
        """Return all memory."""
        return [x for kept in self._kept() for x in kept]

    def _kept(self) -> tuple[list[Tensor], list[Tensor]]:
        return self.keys, self.values

    def _places(self, end: int, count: int) -> Tensor:
        return torch.arange(end - count, end, device=self.position.device) % self.slots
