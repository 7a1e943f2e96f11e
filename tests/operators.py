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
    return {
        name: torch.randint(0, 100, size, generator=generator).double() for name, size in shape.items()
    }
