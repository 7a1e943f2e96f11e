"""Inference modules: what is said of each token of a chunk, given the state of all chunks before it."""

from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from scannable.modules._encoder import TokenEncoder, VectorEncoder
from scannable.modules._transformer import Cache, Transformer


class Inference(nn.Module):
    """A causal read-out; write ``forward``, and its streaming form reads the chunk so far again each step.

    Attributes:
        reads_identity: Whether the first chunk is read with the identity for a prefix; if not, with None.
        absolute: Whether ``forward`` and ``start`` take the place of the chunk's first token in the text as
            ``position``, ``(R,)``.
    """

    reads_identity: bool = True
    absolute: bool = False

    def forward(self, prefix: Any, tokens: Shaped[Tensor, "R n *token"]) -> Shaped[Tensor, "R n ..."]:
        """Read ``n <= C`` tokens; output ``t`` has seen tokens up to and with ``t``.

        What is returned goes to the model's head, or is the model's output if it has none.
        """
        raise NotImplementedError("Write forward(prefix, tokens), or start and step as well.")

    def start(self, prefix: Any, position: Any = 0) -> Any:
        """Open a chunk: return the cache of the streaming form.

        It is a pytree of tensors ``(R, ...)``; what else it holds may only depend on how many tokens were read, not on
        which, since only the tensors of a stream are saved.
        """
        return prefix, position, None

    def step(self, cache: Any, tokens: Shaped[Tensor, "R n *token"]) -> tuple[Tensor, Any]:
        """Read ``n >= 1`` more tokens of the chunk; return what ``forward`` says of them, and the cache."""
        prefix, position, seen = cache
        seen = tokens.clone() if seen is None else torch.cat([seen, tokens], 1)
        place = {"position": position} if self.absolute else {}
        return self(prefix, seen, **place)[:, -tokens.shape[1] :], (prefix, position, seen)


class TransformerInference(Inference):
    """A causal stack over [prefix state | chunk]; what the chunk's slots read is the output.

    Slots of the prefix have the first positions, those of the chunk the next, also when there is no prefix:
    so the two are told apart. In streaming every token is read with a key-value cache. (In the
    authors' code the tokens of the current chunk never reach the inference module when streaming.)

    Args:
        embed: From tokens to vectors ``(R, n, D)``: a ``TokenEncoder`` or a ``VectorEncoder``.
        stack: The blocks.
        prefix_slots: How many slots a state has.
        reads_identity: Open slots for the empty prefix too (a learned identity); else the first chunk
            is read alone, as in the authors' code.
    """

    def __init__(
        self,
        embed: TokenEncoder | VectorEncoder,
        stack: Transformer,
        *,
        prefix_slots: int,
        reads_identity: bool = False,
    ) -> None:
        super().__init__()
        self.embed, self.stack = embed, stack
        self.prefix_slots, self.reads_identity = prefix_slots, reads_identity
        self.absolute = embed.absolute

    def forward(
        self, prefix: Float[Tensor, "R s D"] | None, tokens: Shaped[Tensor, "R n *token"], position: Any = 0
    ) -> Float[Tensor, "R n D"]:
        chunk = self.embed(tokens, position)
        if prefix is None:
            return self.stack(chunk, position=self.prefix_slots)
        return self.stack(torch.cat([prefix, chunk], 1), first=prefix.shape[1])

    def start(self, prefix: Float[Tensor, "R s D"] | None, position: Any = 0) -> tuple[Any, Cache]:
        return position, (self.prefix_slots, ()) if prefix is None else self._cache(prefix)

    def step(
        self, cache: tuple[Any, Cache], tokens: Shaped[Tensor, "R n *token"]
    ) -> tuple[Float[Tensor, "R n D"], tuple[Any, Cache]]:
        position, slots = cache
        chunk = self.embed(tokens, position + slots[0] - self.prefix_slots)
        read, slots = self.stack.extend(slots, chunk)
        return read, (position, slots)

    def _cache(self, prefix: Float[Tensor, "R s D"]) -> Cache:
        """Read the prefix as slots like others."""
        return self.stack.extend((0, ()), prefix, first=prefix.shape[1])[1]


class CrossInference(TransformerInference):
    """A causal stack over the chunk, each layer of which also sees the prefix state as it is, as keys and values.

    The state does not run through the layers, so a chunk costs little more than its own tokens; slots and positions
    are those of ``TransformerInference``.
    """

    def forward(
        self, prefix: Float[Tensor, "R s D"] | None, tokens: Shaped[Tensor, "R n *token"], position: Any = 0
    ) -> Float[Tensor, "R n D"]:
        return self.step(self.start(prefix, position), tokens)[0]

    def _cache(self, prefix: Float[Tensor, "R s D"]) -> Cache:
        return self.stack.remember(prefix)
