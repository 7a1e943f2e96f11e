"""How tokens are laid out in chunks: equal sequences side by side, or packed ones of any lengths."""

import torch
import torch.nn.functional as F
from torch import Tensor


class Layout:
    """The chunks of some sequences, ordered by their rank in their sequence; a row is one head's part of a chunk.

    A loop over ranks then meets the first chunks of all sequences, the second chunks of those that have one, and so on:
    sequences are sorted by their number of chunks, so those still going on are always the first ones.

    Args:
        batch: Sequences in the batch, if they are not packed.
        length: Tokens of each, or of all packed ones together.
        heads: ``H``.
        lengths: Tokens of each packed sequence, or None.
        size: ``C``, tokens in a chunk; the last chunk of a sequence is padded.

    Attributes:
        steps: For each rank, how many rows there are.
    """

    def __init__(self, batch: int, length: int, heads: int, lengths: list[int] | None, size: int) -> None:
        self.batch, self.length, self.heads, self.size, self.lengths = batch, length, heads, size, lengths
        if lengths is None:
            self.steps = [batch * heads] * -(-length // size)
            return
        counts = [-(-n // size) for n in lengths]
        self.order = sorted(range(len(lengths)), key=lambda i: -counts[i])
        going = [sum(count > rank for count in counts) for rank in range(max(counts, default=0))]
        self.steps = [heads * n for n in going]
        ends = torch.tensor(lengths).cumsum(0)
        of_rank = [torch.tensor(self.order[:n]) for n in going]
        firsts = [(ends - torch.tensor(lengths))[some] + rank * size for rank, some in enumerate(of_rank)]
        places = torch.cat(firsts)[:, None] + torch.arange(size)
        inside = places < torch.cat([ends[some] for some in of_rank])[:, None]
        # Padding reads a row of zeros behind the last token.
        self.places = torch.where(inside, places, length)
        self.back = torch.empty(length, dtype=torch.long)
        self.back[places[inside]] = torch.arange(inside.numel()).view_as(inside)[inside]

    def fold(self, x: Tensor) -> Tensor:
        """Cut tokens ``(B, T, H, ...)`` into chunks ``(R, C, ...)``, padded with zeros."""
        if self.lengths is None:
            missing = -self.length % self.size
            padded = F.pad(x, (0, 0) * (x.dim() - 2) + (0, missing)) if missing else x
            chunks = padded.unflatten(1, (-1, self.size)).transpose(0, 1)
        else:
            padded = torch.cat([x[0], x.new_zeros(1, *x.shape[2:])])
            chunks = padded.index_select(0, self.places.flatten().to(x.device))
            chunks = chunks.unflatten(0, (-1, 1, self.size))
        return chunks.transpose(2, 3).flatten(0, 2)

    def unfold(self, chunks: Tensor) -> Tensor:
        """Put chunks ``(R, C, ...)`` together again: ``(B, T, H, ...)``."""
        chunks = chunks.unflatten(0, (-1, self.heads)).transpose(1, 2)
        if self.lengths is None:
            x = chunks.unflatten(0, (-1, self.batch)).transpose(0, 1).flatten(1, 2)
            return x[:, : self.length]
        return chunks.flatten(0, 1).index_select(0, self.back.to(chunks.device))[None]

    def sort(self, states: Tensor) -> Tensor:
        """Bring states ``(n, H, ...)``, one for each sequence, into the rows of the loop."""
        return (states if self.lengths is None else states[self.order]).flatten(0, 1)

    def unsort(self, states: Tensor) -> Tensor:
        """Bring them back."""
        states = states.unflatten(0, (-1, self.heads))
        if self.lengths is None:
            return states
        return states[torch.tensor(self.order).argsort().to(states.device)]
