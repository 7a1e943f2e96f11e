"""The operator's contract: merge two states in order, and name the state of the empty prefix."""

from typing import Any, Protocol, runtime_checkable

State = Any
"""A tensor or any pytree of tensors; every tensor of one state has the same leading axes."""


@runtime_checkable
class Aggregator(Protocol):
    """An operator on states; neither associativity nor commutativity is needed.

    Any object with these two methods will do, an ``nn.Module`` included ([1] v2, Definition 3.1,
    where it is ``Agg`` with the identity element ``e``; arXiv 2506.10918).
    """

    def combine(self, left: State, right: State) -> State:
        """Merge the state of an earlier span with the state of the span right after it.

        Both states have shape ``(R, ...)``: batch and chunks are folded into rows, and every row is
        a merge of its own. The result has the shapes and dtypes of ``left``. The operator is
        never called with an identity, and must not write into its operands, which others read too.
        """
        ...

    def identity(self, like: State) -> State:
        """Return the state of the empty prefix, with the shapes and dtypes of ``like``, ``(B, ...)``."""
        ...
