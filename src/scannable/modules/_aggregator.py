"""Aggregators: learned ways to merge two states, from attention down to a matrix product.

Each fulfils ``scannable.scans.Aggregator`` by its shape; none knows of scans.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scannable.modules._transformer import Transformer, initialise


class TransformerAggregator(nn.Module):
    """Attention over the slots of both states; what the right state's slots read is the merged state.

    ``Agg(x, y) = RH(GPT(x | y))`` in [1]. There GPT is bidirectional; the authors' code leaves GPT-2's
    causal mask on, so that slot ``j`` of ``y`` sees only slots up to ``j`` of ``y``. With one slot a state and
    one layer there is no difference.

    Args:
        stack: The blocks, over ``2 n`` slots for states of ``n``.
        causal: Use the causal mask of the authors' code.
        learned_identity: Slots ``n`` of a learned empty prefix, or None: the empty prefix is never read
            and is zero, as in the authors' code, which marks it with a flag.

    [1] Yau et al., arXiv 2506.10918 v2, Section 4.
    """

    def __init__(
        self, stack: Transformer, *, causal: bool = False, learned_identity: int | None = None
    ) -> None:
        super().__init__()
        if stack.window is not None and not causal:
            raise ValueError(
                f"A window of {stack.window} slots is causal, and this aggregator is not; give it a stack without a "
                f"window, or causal=True."
            )
        self.stack, self.causal = stack, causal
        self.empty = None
        if learned_identity is not None:
            self.empty = nn.Parameter(0.02 * torch.randn(learned_identity, stack.width))

    def combine(self, left: Float[Tensor, "R n D"], right: Float[Tensor, "R n D"]) -> Float[Tensor, "R n D"]:
        return self.stack(torch.cat([left, right], 1), first=left.shape[1], causal=self.causal)

    def identity(self, like: Float[Tensor, "B n D"]) -> Float[Tensor, "B n D"]:
        return torch.zeros_like(like) if self.empty is None else self.empty.to(like.dtype).expand_as(like)


class GatedSum(nn.Module):
    """Keep a learned share of the left state and fill up with the right one, channel by channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * width, width)
        self.apply(initialise)

    def combine(self, left: Float[Tensor, "*R D"], right: Float[Tensor, "*R D"]) -> Float[Tensor, "*R D"]:
        keep = torch.sigmoid(self.gate(torch.cat([left, right], -1)))
        return torch.lerp(right, left, keep.to(left.dtype))

    def identity(self, like: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        return torch.zeros_like(like)


class MLP(nn.Module):
    """A network of one hidden layer on both states, normed, slot by slot."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(2 * width, hidden), nn.GELU(), nn.Linear(hidden, width), nn.LayerNorm(width)
        )

    def combine(self, left: Float[Tensor, "*R D"], right: Float[Tensor, "*R D"]) -> Float[Tensor, "*R D"]:
        return self.network(torch.cat([left, right], -1)).to(left.dtype)

    def identity(self, like: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        return torch.zeros_like(like)


class TreeLSTM(nn.Module):
    """The binary tree-LSTM cell; a state is ``(hidden, cell)`` (Tai et al., arXiv 1503.00075, Section 3.2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = nn.Linear(2 * width, 5 * width)

    def combine(self, left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        gates = self.gates(torch.cat([left[0], right[0]], -1)).chunk(5, -1)
        keep_left, keep_right, write, read = (torch.sigmoid(gate) for gate in gates[:4])
        cell = keep_left * left[1] + keep_right * right[1] + write * torch.tanh(gates[4])
        return read * torch.tanh(cell), cell

    def identity(self, like: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(like[0]), torch.zeros_like(like[1])


class MatrixProduct(nn.Module):
    """The product of matrices, the earlier one on the left: associative, and nothing to learn."""

    def combine(
        self, left: Float[Tensor, "*R K K"], right: Float[Tensor, "*R K K"]
    ) -> Float[Tensor, "*R K K"]:
        with torch.autocast(left.device.type, enabled=False):
            return left @ right

    def identity(self, like: Float[Tensor, "*B K K"]) -> Float[Tensor, "*B K K"]:
        return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device).expand_as(like)
