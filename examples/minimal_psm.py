"""A whole prefix-scannable model in one file: scan, counter, model and training, with torch and nothing else.

One learned operator merges states. Training runs it over a tree, all places at once; reading runs it over a binary
counter, in logarithmic memory. Both make the same merges, so they are one function though nothing is associative.
Run it: it learns to multiply permutations in words of up to 8, and is then given words of 8, 80 and 800. The idea
is that of Yau et al., arXiv 2506.10918. Letters: B batch, T tokens, C chunk, N chunks, D width, V vocabulary.
"""

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Combine = Callable[[Tensor, Tensor], Tensor]


def scan(combine: Combine, leaves: Tensor) -> Tensor:
    """Return the states of the first 1, 2, ..., N leaves (B, N, ...) in 2 log2 N batched calls, for any operator.

    Without associativity a state needs brackets. They are the binary digits of its length: perfect trees, the largest
    and oldest first, folded from the left. Six leaves are ((x0 x1)(x2 x3)) (x4 x5), seven are that merged with x6.
    """
    n = leaves.shape[1]
    if n < 2:
        return leaves
    states = leaves.clone()  # the first is its own state, the others are written below
    # Up: neighbours make trees of twice the size. An even length has, in pairs, the digits of its half.
    states[:, 1::2] = scan(combine, combine(leaves[:, 0 : n - 1 : 2], leaves[:, 1::2]))
    # Down: an odd length ends in the digit 1, one leaf that is folded onto the even length before it.
    if n > 2:
        states[:, 2::2] = combine(states[:, 1 : n - 1 : 2], leaves[:, 2::2])
    return states


class Counter:
    """The same states leaf by leaf: counting in binary, with a perfect tree for every digit 1."""

    def __init__(self, combine: Combine) -> None:
        self.combine = combine
        # (size, root, fold) of each tree, the oldest first. The fold is the state of all leaves up to the tree's end:
        # it is kept, so a new leaf costs its carries and one merge more, not a merge of all roots again.
        self.trees: list[tuple[int, Tensor, Tensor]] = []

    @property
    def prefix(self) -> Tensor | None:
        """The state of all leaves so far. None is not a state: nothing is ever merged with the empty prefix."""
        return self.trees[-1][2] if self.trees else None

    def push(self, root: Tensor) -> None:
        size = 1
        while self.trees and self.trees[-1][0] == size:  # 1 + 1 carries, as on an odometer
            root, size = self.combine(self.trees.pop()[1], root), 2 * size
        fold = root if self.prefix is None else self.combine(self.prefix, root)
        self.trees.append((size, root, fold))


class Block(nn.Module):
    """One pre-norm Transformer block on slots (..., n, D)."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for linear in (self.qkv, self.out, self.up, self.down):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).transpose(-4, -2).unbind(-3)
        read = F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(-3, -2).flatten(-2)
        x = x + self.out(read)
        return self.norm3(x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh")))


class PSM(nn.Module):
    """Enc, Agg and Inf. A state has one slot for each of the C tokens of a chunk: (B, C, D).

    Two choices make it right at every length, and not only at those it was trained on. Agg and Inf share their block,
    so predicting a product teaches merging. And merged states snap to token vectors: an operator that is a finite
    table cannot drift with depth. (The authors' code has neither; ``snap=False`` shows what becomes of free states.)
    """

    def __init__(self, vocabulary: int, width: int = 32, chunk: int = 1, snap: bool = True) -> None:
        super().__init__()
        self.chunk, self.snap = chunk, snap
        self.tokens = nn.Parameter(torch.randn(vocabulary, width) / width**0.5)
        # Positions number the slots of [left | right] and [prefix | chunk], not places in the text: it may be endless.
        self.slots = nn.Parameter(torch.randn(2 * chunk, width) / width**0.5)
        self.block = Block(width)

    def vectors(self) -> Tensor:
        """Token vectors of length one: the embedding, the head's rows and the codebook, (V, D)."""
        return F.normalize(self.tokens, dim=-1)

    def enc(self, tokens: Tensor) -> Tensor:
        """A leaf is its tokens' vectors."""
        return self.vectors()[tokens]

    def agg(self, left: Tensor, right: Tensor) -> Tensor:
        """Let the slots of two states attend to each other; what the right ones have read is the merged state."""
        merged = self.block(torch.cat([left, right], -2) + self.slots, causal=False)[..., self.chunk :, :]
        if self.snap:  # vectors of one length: the nearest has the largest product
            codes = self.vectors().detach()  # no gradient passes, as Inf trains the same block
            merged = codes[(merged @ codes.T).argmax(-1)]
        return merged

    def inf(self, prefix: Tensor | None, chunk: Tensor) -> Tensor:
        """Predict inside a chunk from its own slots so far, and from the state of all chunks before: (..., n, V)."""
        n = chunk.shape[-2]
        slots = chunk if prefix is None else torch.cat([prefix, chunk], -2)
        end = self.chunk + n
        read = self.block(slots + self.slots[end - slots.shape[-2] : end], causal=True)[..., -n:, :]
        return 1.2 * read @ self.vectors().T  # rows of length one make logits small, 1.2 less so

    def forward(self, tokens: Tensor) -> Tensor:
        """The parallel form, for training: (B, T) -> (B, T, V)."""
        length = tokens.shape[1]
        # Padding is never seen: Inf is causal, and the last chunk is no leaf of any prefix here.
        leaves = self.enc(F.pad(tokens, (0, -length % self.chunk)).unflatten(1, (-1, self.chunk)))
        first = self.inf(None, leaves[:, :1])
        others = self.inf(scan(self.agg, leaves[:, :-1]), leaves[:, 1:])
        return torch.cat([first, others], 1).flatten(1, 2)[:, :length]


class Stream:
    """The streaming form of a model: at most 2 (log2 N + 1) states, and the tokens of the chunk that is not whole."""

    def __init__(self, model: PSM) -> None:
        self.model, self.counter, self.tokens = model, Counter(model.agg), []

    def step(self, token: Tensor) -> Tensor:
        """Read one token (B,); return its logits (B, V)."""
        self.tokens.append(token)
        chunk = self.model.enc(torch.stack(self.tokens, 1))
        # The chunk so far is read again at each of its tokens; a key-value cache would save that.
        logits = self.model.inf(self.counter.prefix, chunk)[:, -1]
        if len(self.tokens) == self.model.chunk:
            self.counter.push(chunk)
            self.tokens = []
        return logits


# S3, the permutations of three things: its six elements are tokens and answers, TABLE holds their products.
GROUP = list(itertools.permutations(range(3)))
TABLE = torch.tensor([[GROUP.index(tuple(p[j] for j in q)) for q in GROUP] for p in GROUP])


def words(count: int, length: int) -> tuple[Tensor, Tensor]:
    """Draw words over S3; the answer at place t is the product of the elements up to and including t."""
    tokens = torch.randint(len(GROUP), (count, length))
    answers = tokens.clone()
    for t in range(1, length):
        answers[:, t] = TABLE[answers[:, t - 1], tokens[:, t]]
    return tokens, answers


def train(model: PSM, longest: int = 8, steps: int = 400) -> None:
    """Train on words of 2 to ``longest`` elements, about 512 elements a step."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3, betas=(0.9, 0.98))
    for _ in range(steps):
        length = int(torch.randint(2, longest + 1, ()))
        tokens, answers = words(512 // length, length)
        loss = F.cross_entropy(model(tokens).flatten(0, 1), answers.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    print(f"  loss after {steps} steps: {loss.item():.4f}")


@torch.no_grad()
def examine(model: PSM, lengths: tuple[int, ...] = (8, 80, 800)) -> None:
    """Stream fresh words, compare the streaming with the parallel form, and try all products of two elements."""
    model.double()
    for length in lengths:
        (tokens, answers), stream = words(64, length), Stream(model)
        logits = torch.stack([stream.step(token) for token in tokens.unbind(1)], 1)
        wrong = (logits.argmax(-1) != answers)[:, -1].double().mean().item()
        apart = (logits - model(tokens)).abs().max().item()
        kept = len(stream.counter.trees)
        print(f"{length:5} tokens: {wrong:5.1%} end wrong, forms differ by {apart:.0e}, trees kept: {kept}")
    vectors = model.vectors()[:, None]
    i, j = torch.cartesian_prod(torch.arange(6), torch.arange(6)).T
    right = int((model.agg(vectors[i], vectors[j]) == vectors[TABLE[i, j]]).all(-1).sum())
    # If all are, every length is right: a state is a merge of two right ones, and products in a group are associative.
    print(f"  {right} of 36 merges are, to the bit, the vector of the product")


if __name__ == "__main__":
    for snap in (True, False):
        torch.manual_seed(0)
        print("merged states snap to token vectors" if snap else "merged states are free")
        psm = PSM(vocabulary=len(GROUP), snap=snap)
        train(psm)
        examine(psm)
