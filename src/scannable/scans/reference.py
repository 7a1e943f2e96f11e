"""THE DEFINITION of a prefix state: slow, obvious, and what every other form is compared with."""

from typing import Any

from scannable.scans._aggregator import Aggregator, State
from scannable.scans._bracketing import perfect_trees
from scannable.scans._tree import along, flatten


def tree_root(aggregator: Aggregator, leaves: list[Any]) -> State:
    """Merge ``2**k`` states as a balanced tree."""
    if len(leaves) == 1:
        return leaves[0]
    half = len(leaves) // 2
    return aggregator.combine(tree_root(aggregator, leaves[:half]), tree_root(aggregator, leaves[half:]))


def prefix_state(aggregator: Aggregator, leaves: State, count: int) -> State:
    """Return the state of the first ``count`` leaves.

    Args:
        aggregator: The operator.
        leaves: States of shape ``(B, N, ...)`` with ``N >= 1``; the first tells what the identity is like.
        count: How many leaves the prefix holds, ``0..N``.

    Returns:
        The perfect trees of ``count``, folded from left to right, of shape ``(B, ...)``.

    Raises:
        ValueError: If there is no such prefix.
    """
    most = flatten(leaves)[0][0].shape[1]
    if not 0 <= count <= most:
        raise ValueError(f"A prefix of {most} leaves must hold 0 to {most} of them, got {count}.")
    states = [along(leaves, t) for t in range(max(1, count))]
    if count == 0:
        return aggregator.identity(states[0])
    first, *others = [tree_root(aggregator, states[start:stop]) for start, stop in perfect_trees(count)]
    state = first
    for root in others:
        state = aggregator.combine(state, root)
    return state
