"""Toy operators whose results are exact in float64."""

import torch


class Skew:
    """Neither associative nor commutative, and exact on small integers; states are pytrees of two shapes."""

    def combine(self, left, right):
        return {
            "a": (2 * left["a"] + 3 * right["a"]) % 8191,
            "b": (5 * left["b"] + 7 * right["b"] + left["a"].sum(-1)[:, None, None]) % 8191,
        }

    def identity(self, like):
        return {"a": torch.zeros_like(like["a"]), "b": torch.zeros_like(like["b"])}


class Counting:
    """Pass calls on to another operator, and count merges (rows) and batched calls."""

    def __init__(self, aggregator):
        self.aggregator = aggregator
        self.merges = self.calls = 0

    def combine(self, left, right):
        self.calls += 1
        self.merges += next(iter(torch.utils._pytree.tree_leaves(left))).shape[0]
        return self.aggregator.combine(left, right)

    def identity(self, like):
        return self.aggregator.identity(like)


def draw_skew(batch, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = {"a": (batch, length, 3), "b": (batch, length, 2, 2)}
    return {name: torch.randint(0, 100, size, generator=generator).double() for name, size in shape.items()}


class Reordering:
    """Return dicts whose keys come in another order."""

    def combine(self, left, right):
        return {"b": left["b"] + right["b"], "a": torch.maximum(left["a"], right["a"])}

    def identity(self, like):
        return {name: torch.zeros_like(like[name]) for name in ("b", "a")}


class Pair:
    """As Skew, but light, for tests that make hundreds of thousands of merges; exact for 130 leaves."""

    def combine(self, left, right):
        return torch.add(left[0], right[0], alpha=3), torch.sub(left[1], right[1], alpha=2)

    def identity(self, like):
        return torch.zeros_like(like[0]), torch.zeros_like(like[1])


class Sum:
    """Associative and commutative."""

    def combine(self, left, right):
        return left + right

    def identity(self, like):
        return torch.zeros_like(like)


class MatrixProduct:
    """Associative, not commutative; exact while entries stay small."""

    def combine(self, left, right):
        return right @ left % 97

    def identity(self, like):
        return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device).expand_as(like)


class InPlace(Sum):
    """Write the sum into the left operand, which an operator must not."""

    def combine(self, left, right):
        return left.add_(right)


class Maximum:
    """Associative, with an identity that is not finite."""

    def combine(self, left, right):
        return torch.maximum(left, right)

    def identity(self, like):
        return torch.full_like(like, -torch.inf)


class Either:
    """Or, on bool."""

    def combine(self, left, right):
        return left | right

    def identity(self, like):
        return torch.zeros_like(like)


class Product(Sum):
    """Of complex numbers, say."""

    def combine(self, left, right):
        return left * right

    def identity(self, like):
        return torch.ones_like(like)


class Learned(torch.nn.Module):
    """A gated mixture of two states, neither associative nor commutative."""

    def __init__(self, width, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        scale = (2 * width) ** -0.5
        self.mix = torch.nn.Parameter(torch.randn(2 * width, width, generator=generator) * scale)
        self.gate = torch.nn.Parameter(torch.randn(2 * width, width, generator=generator) * scale)
        self.start = torch.nn.Parameter(torch.randn(width, generator=generator))

    def combine(self, left, right):
        both = torch.cat([left, right], -1)
        return torch.sigmoid(both @ self.gate) * left + torch.tanh(both @ self.mix)

    def identity(self, like):
        return self.start.expand_as(like)


class Free:
    """The freest operator: every pair of states makes a state of its own, so no wrong bracket can hide.

    States are integers ``(R,)``; leaves are not negative, and merged states are numbered from -1 down.
    """

    def __init__(self):
        self.names = {}

    def combine(self, left, right):
        pairs = zip(left.tolist(), right.tolist(), strict=True)
        return torch.tensor([self.names.setdefault(pair, -1 - len(self.names)) for pair in pairs])

    def identity(self, like):
        return torch.full_like(like, 10**9)


class Right:
    """Costs nothing and merges nothing: for counting."""

    def combine(self, left, right):
        return right

    def identity(self, like):
        return torch.zeros_like(like)
