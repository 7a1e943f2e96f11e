"""RWKV-6: what a token mixes in of the one before it, and what every channel forgets, depend on the token."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scannable.affine._actions import Diagonal
from scannable.affine._check import check_sizes
from scannable.affine._heads import head_width
from scannable.affine._layer import Carry, Layer, Row


class RWKV6(Layer):
    """The time mixing of RWKV-6, or Finch (Peng et al., arXiv 2404.05892).

    Token ``t`` reads the state before it, and of itself what the bonus ``u`` lets through. Queries are the paper's
    receptance, ``r``.

    Args:
        width: ``D``.
        heads: ``H``.
        rank: Of the map that says how much to take of the token before, for each of r, k, v, g and the decay.
        decay_rank: Of the map to the decay.
    """

    row = Row(
        name="rwkv6",
        title="RWKV-6",
        action=Diagonal,
        element="Diag(a_t),  a_t = exp(-exp(w + tanh(x_t A) B))",
        shift="k_t v_t^T",
        read="S_{t-1}^T q_t + (q_t . (u * k_t)) v_t",
        reference="Peng et al., arXiv 2404.05892",
    )
    undecayed = ("share", "bonus")

    def __init__(self, width: int, heads: int = 4, *, rank: int = 32, decay_rank: int = 64) -> None:
        super().__init__(width)
        check_sizes(rank=rank, decay_rank=decay_rank)
        each = head_width(width, heads)
        if each < 2:
            raise ValueError(
                f"Heads must have two channels or more, since each is normed, got {heads} heads of 1; take fewer."
            )
        self.heads, self.rank = heads, rank
        # Every channel begins with its own share of the token before, and forgets at its own pace.
        self.share = nn.Parameter(torch.linspace(1, 0, width).repeat(6, 1))
        self.share_in = nn.Linear(width, 5 * rank, bias=False)
        self.share_out = nn.Parameter(0.01 * torch.randn(5, rank, width))
        self.qkvg = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(4))
        self.decay = nn.Sequential(
            nn.Linear(width, decay_rank, bias=False), nn.Tanh(), nn.Linear(decay_rank, width, bias=False)
        )
        self.pace = nn.Parameter(torch.linspace(-6, -1, width))
        self.bonus = nn.Parameter(torch.ones(heads, each))
        self.norm = nn.GroupNorm(heads, width, eps=1e-5 * each)
        self.out = nn.Linear(width, width, bias=False)

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        *inputs, for_decay = self._shift(x, carry)
        q, k, v, gate = (linear(y) for linear, y in zip(self.qkvg, inputs, strict=True))
        q, k, v = (y.unflatten(-1, (self.heads, -1)) for y in (q, k, v))
        pace = self.decay(for_decay).to(carry.wide) + self.pace.to(carry.wide)
        # Beyond 80 a channel forgets all, to the last bit; exp would overflow, and its gradient with it.
        decay = -pace.clamp(max=80).exp().unflatten(-1, (self.heads, -1))
        read = carry.recurrence(q, k, v, decay=decay, read="before")
        read = read + (q * self.bonus * k).sum(-1, keepdim=True) * v
        normed = self.norm(read.flatten(2).flatten(0, 1)).view(x.shape)
        return self.out(normed * F.silu(gate))

    def _shift(self, x: Tensor, carry: Carry) -> tuple[Tensor, ...]:
        """Move tokens towards the ones before them, by shares that they choose themselves: once for each use."""
        change = carry.window(x, 1).back(1) - x
        low = self.share_in(x + change * self.share[0]).tanh().unflatten(-1, (5, self.rank))
        shares = torch.einsum("btnr,nrd->nbtd", low, self.share_out) + self.share[1:, None, None]
        return (x + change * shares).unbind()
