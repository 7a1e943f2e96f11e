"""From vectors to logits."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from scannable.modules import initialise


class Head(nn.Module):
    """A linear map without bias onto the vocabulary.

    Args:
        embedding: The token embedding.
        tied: Use its weights, as GPT-2 does; else weights of its own, as in the authors' code.
    """

    def __init__(self, embedding: nn.Embedding, *, tied: bool) -> None:
        super().__init__()
        if tied:
            self.weight = embedding.weight
        else:
            own = nn.Linear(embedding.embedding_dim, embedding.num_embeddings, bias=False)
            self.weight = own.apply(initialise).weight

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        return F.linear(x, self.weight)
