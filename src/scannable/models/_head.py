"""From vectors to logits, and to losses without them."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from scannable.modules import Codes, linear_cross_entropy, token_losses


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
        return F.linear(x, self._weight())

    def loss(
        self, x: Float[Tensor, "*B D"], targets: Int[Tensor, "*B"], share: Float[Tensor, "*B"]
    ) -> Float[Tensor, ""]:
        """Return the sum of ``share`` times the cross-entropy (nats) at every place; logits are never kept."""
        return linear_cross_entropy(x.flatten(0, -2), self._weight(), targets.flatten(), share.flatten())

    def losses(self, x: Float[Tensor, "*B D"], targets: Int[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """Return the cross-entropy (nats) at every place, without gradients."""
        return token_losses(x.flatten(0, -2), self._weight(), targets.flatten()).view(targets.shape)

    def _weight(self) -> Float[Tensor, "V D"]:
        return self.scale * self.codes.vectors() if self.scale != 1 else self.codes.vectors()
