"""The pairs ``(E_t, f_t)`` that a layer makes of tokens: its recurrence as an aggregator and leaves."""

from typing import Any

import torch
from torch import Tensor

from scannable.affine._actions import Action, Element, Elementwise, lift
from scannable.affine._heads import for_each_head
from scannable.affine._layer import Carry, Layer
from scannable.affine._recurrence import state_dtype


class _Recorder(Carry):
    """A call of a layer that keeps the pairs of its recurrence."""

    pairs: tuple[Action, tuple[Element, Tensor]]

    def recurrence(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        decay: Tensor | None = None,
        erase: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        gates = (None if x is None else x.to(self.wide) for x in (decay, erase))
        k_of_each = for_each_head(k, v.shape[2])
        self.pairs = lift(k_of_each.to(self.wide), v.to(self.wide), *gates)
        return super().recurrence(q, k, v, decay=decay, erase=erase, **options)

    def elementwise(self, write: Tensor, decay: Tensor) -> Tensor:
        self.pairs = Elementwise(), (decay.exp(), write)
        return super().elementwise(write, decay)


@torch.no_grad()
def lifted(layer: Layer, x: Tensor) -> tuple[Action, tuple[Element, Tensor]]:
    """Return the pairs ``(E_t, f_t)`` that a layer makes of tokens ``(B, T, D)``, and the action that scans them.

    There is one for each step of the recurrence: a token, or in DeltaProduct one of its factors.
    """
    # Said by name, the form runs as a whole, not in blocks of a long text.
    carry = _Recorder(None, None, state_dtype(x), "tree", "inputs")
    layer.mix(x, carry)
    return carry.pairs
