"""From vectors to logits."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from scannable.modules import Codes


class Head(nn.Module):
    """A linear map without bias onto the vocabulary.

    Args:
        tokens: The token embedding.
        tied: Compare with its vectors, as GPT-2 does; else with vectors of its own, as in the authors' code.
        scale: What logits are multiplied with.
    """

    def __init__(self, tokens: Codes, *, tied: bool, scale: float = 1.0) -> None:
        super().__init__()
        self.codes, self.scale = tokens if tied else Codes(*tokens.weight.shape), scale

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        return F.linear(x, self.scale * self.codes.vectors())
