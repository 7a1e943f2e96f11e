"""Your own aggregator in ten lines: checked, trained over a tree, and streamed leaf by leaf.

The task is a memory cell: after each token, say which letter came last; blanks (token 0) change nothing.
Training sees 16 tokens; a counter then streams 1,000, and keeps a root for every binary digit 1 of the count.
"""

import torch
from torch import Tensor, nn

import scannable as sc


class Gate(nn.Module):
    """Let each channel of a merged state come from the earlier or from the later state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * width, width)

    def combine(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.lerp(left, right, self.gate(torch.cat([left, right], -1)).sigmoid())

    def identity(self, like: Tensor) -> Tensor:
        return torch.zeros_like(like)


def batch(size: int, length: int) -> tuple[Tensor, Tensor]:
    tokens = torch.randint(1, 5, (size, length)) * (torch.rand(size, length) < 0.3)
    places = torch.where(tokens > 0, torch.arange(length), 0).cummax(1).values
    return tokens, tokens.gather(1, places)  # still 0 where no letter has come yet


torch.manual_seed(0)
embed, gate, read = nn.Embedding(5, 16), Gate(16), nn.Linear(16, 5)

# Any operator will do, but it must be one: this fails if combine looks at other rows, or writes into its operands.
sc.testing.assert_duality(gate, embed(batch(2, 37)[0]).detach())

optimiser = torch.optim.Adam([*embed.parameters(), *gate.parameters(), *read.parameters()], lr=1e-2)
for step in range(1, 301):
    tokens, answers = batch(64, 16)
    logits = read(sc.scan(gate, embed(tokens), inclusive=True))  # (B, T, 5), in 2 log2 T calls of combine
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten())
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if step % 100 == 0:
        print(f"step {step}: loss {loss.item():.4f}")

tokens, answers = batch(64, 1000)
with torch.no_grad():
    counter, wrong = sc.Counter.empty(gate, embed(tokens[:, 0])), 0
    for t in range(1000):
        counter = counter.push(embed(tokens[:, t]))
        wrong += int((read(counter.prefix).argmax(-1) != answers[:, t]).sum())
kept = sum(root is not None for root in counter.roots)
print(f"64 streams of 1,000 tokens: {wrong} of {tokens.numel():,} answers wrong, {kept} roots kept")
