"""How a step of a stack is worked out: by which linear maps and which attention, and what the compiler may try."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from scannable.modules._rotary import rotate
from scannable.modules._slots import SlotAttention, blocks, flex, fused, matmul, products

ATTENTION: dict[str, SlotAttention] = {
    "fused": fused, "products": products, "blocks": blocks, "matmul": matmul, "flex": flex,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to work out a step."""

    linear: Literal["addmm", "mm", "kernel"] = "addmm"
    """Maps with their bias in one operator; or apart, which the compiler can break up and fuse; or by a kernel of ours,
    which takes norm, bias, activation and sum along."""
    attention: Literal["fused", "products", "blocks", "matmul", "flex", "kernel"] = "fused"
    """What reads the slots; the kernel also rotates and writes."""
    splits: int = 1
    """Parts of the slots that the kernel reads side by side."""
    head: Literal["columns", "rows"] = "columns"
    """Whether logits are worked out as ``W x^T``, whose memory is aligned however many tokens there are."""
    ends: bool = True
    """Whether what is done at the end of a chunk is compiled too."""
    compiled: bool = True
    """Whether the step itself is compiled, if anything is."""
    options: tuple[tuple[str, Any], ...] = ()
    """Of the compiler, for a step."""

    def linear_map(self) -> Callable[..., Tensor]:
        """Return the function that maps."""
        if self.linear == "kernel":
            from scannable.models._stepper_kernels import linear  # needs triton

            return linear
        return Map(apart=self.linear == "mm", columns=self.head == "columns")

    def attend(self) -> Callable[..., Tensor]:
        """Return the function that rotates, writes a slot, and reads all."""
        if self.attention == "kernel":
            from scannable.models._stepper_kernels import Attend  # needs triton

            return Attend(self.splits)
        return WriteAndRead(ATTENTION[self.attention])


@dataclass(frozen=True, kw_only=True)
class Map:
    """Linear maps by torch's operators."""

    apart: bool
    """Whether the bias is added by an operator of its own."""
    columns: bool
    """Whether a map without bias works on columns."""

    def __call__(
        self,
        x: Float[Tensor, "B D"],
        weight: Float[Tensor, "E D"],
        bias: Float[Tensor, " E"] | None = None,
        *,
        norm: nn.LayerNorm | None = None,
        gelu: bool = False,
        add: Float[Tensor, "B E"] | None = None,
    ) -> Float[Tensor, "B E"]:
        """Map what was normed; then activate, or add."""
        x = x if norm is None else norm(x)
        if bias is None:
            y = (weight @ x.T).T if self.columns else F.linear(x, weight)
        else:
            y = x @ weight.T + bias if self.apart else F.linear(x, weight, bias)
        y = F.gelu(y, approximate="tanh") if gelu else y
        return y if add is None else add + y


@dataclass(frozen=True)
class WriteAndRead:
    """Attention by torch's operators."""

    attention: SlotAttention

    def __call__(
        self,
        qkv: Float[Tensor, "B D3"],
        kept: Float[Tensor, "2 B H S K"],
        rotation: Float[Tensor, "2 1 1 half"] | None,
        place: Int[Tensor, "1"],
        bias: Float[Tensor, " S"] | None,
    ) -> Float[Tensor, "B D"]:
        """Keep the key and value of one slot in its place, then read all that are seen."""
        _, _, heads, _, size = kept.shape
        q, k, v = (x.unflatten(-1, (heads, size))[:, None] for x in qkv.chunk(3, -1))
        q, k = rotate(q, rotation), rotate(k, rotation)
        kept.index_copy_(3, place, torch.stack([k, v]).transpose(2, 3))
        return self.attention(q.transpose(1, 2), kept[0], kept[1], bias).flatten(1)
