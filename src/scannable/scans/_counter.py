"""The streaming form: a binary counter whose digits are the roots of perfect trees.

The invariant: ``roots[k]`` and ``folds[k]`` are there exactly when bit ``k`` of ``count`` is set. The
root covers the ``2**k`` leaves that the bit stands for; the fold is the prefix down to and with that root.
Because folds are kept, a new leaf costs its carries and at most one merge more, where [1] (v2,
Algorithm 2) folds all roots again after every leaf.

[1] Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918.
"""

from dataclasses import dataclass, replace

from scannable.scans._aggregator import Aggregator, State
from scannable.scans._sweep import sweep
from scannable.scans._tree import (
    Merge,
    Tensors,
    check_aggregator,
    check_alike,
    check_leaves,
    flatten,
    identity_of,
    unflatten,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Counter:
    """A stream of leaves in logarithmic memory; a value, so ``push`` and ``extend`` return a new one.

    Attributes:
        aggregator: The operator.
        count: How many leaves came so far.
        empty_prefix: The identity, ``(B, ...)``.
        roots: At ``k`` the tree of bit ``k`` of ``count``, ``(B, ...)``, or None where the bit is not set.
        folds: At ``k`` the prefix of all leaves down to that tree, or None likewise.
    """

    aggregator: Aggregator
    count: int
    empty_prefix: State
    roots: tuple[State | None, ...]
    folds: tuple[State | None, ...]

    @classmethod
    def empty(cls, aggregator: Aggregator, like: State) -> "Counter":
        """Start a counter for leaves like ``like``, a state of shape ``(B, ...)``."""
        check_aggregator(aggregator)
        tensors, structure = flatten(like)
        if any(not x.dim() for x in tensors) or len({x.shape[0] for x in tensors}) > 1:
            raise ValueError(
                f"A state must have shape (B, ...) with one B for all its tensors, got "
                f"{[tuple(x.shape) for x in tensors]}; put batch first."
            )
        check_leaves([x[:, None] for x in tensors])
        identity = unflatten(identity_of(aggregator, tensors, structure), structure)
        return cls(aggregator=aggregator, count=0, empty_prefix=identity, roots=(), folds=())

    @property
    def prefix(self) -> State:
        """The state of all leaves so far, ``(B, ...)``."""
        return next((fold for fold in self.folds if fold is not None), self.empty_prefix)

    def push(self, leaf: State) -> "Counter":
        """Append one leaf, ``(B, ...)``: carry like an odometer, then fold once.

        Raises:
            ValueError: If the leaf or a merged state has another form than the states here.
        """
        empty, structure = flatten(self.empty_prefix)
        tensors = check_alike("A leaf", leaf, empty, structure, "give the counter leaves of one form")
        # The leaf may become a root, or a part of one; a view would keep alive what it was cut from.
        tensors = [x.clone() for x in tensors]
        merge, carry, level = Merge(self.aggregator, structure), _sequence(tensors), 0
        while self.count >> level & 1:
            carry = merge(_sequence(flatten(self.roots[level])[0]), carry)
            level += 1
        above = next((fold for fold in self.folds[level:] if fold is not None), None)
        fold = carry if above is None else merge(_sequence(flatten(above)[0]), carry)
        root, fold = (unflatten([x[:, 0] for x in state], structure) for state in (carry, fold))
        nothing = (None,) * level
        return replace(
            self,
            count=self.count + 1,
            roots=(*nothing, root, *self.roots[level + 1 :]),
            folds=(*nothing, fold, *self.folds[level + 1 :]),
        )

    def extend(self, leaves: State) -> tuple[State, "Counter"]:
        """Append ``M >= 0`` leaves, ``(B, M, ...)``, in parallel.

        Returns:
            The prefix before each of the new leaves, ``(B, M, ...)``, and the counter that pushing them
            one by one would give.

        Raises:
            ValueError: If the leaves or a merged state have another form than the states here.
        """
        tensors, structure = check_leaves(leaves)
        more = tensors[0].shape[1]
        empty = _sequence(flatten(self.empty_prefix)[0])
        expected = [x.expand(-1, more, *x.shape[2:]) for x in empty]
        check_alike("Leaves", leaves, expected, structure, "give the counter leaves of one form")

        folds = [empty]
        for fold in reversed(self.folds):
            folds.insert(0, folds[0] if fold is None else _sequence(flatten(fold)[0]))
        roots = [folds[-1] if root is None else _sequence(flatten(root)[0]) for root in self.roots]
        merge = Merge(self.aggregator, structure)
        prefixes, nodes = sweep(merge, tensors, self.count, roots, folds)

        count = self.count + more
        new_roots: list[State | None] = list(self.roots[: count.bit_length()])
        new_folds: list[State | None] = list(self.folds[: count.bit_length()])
        for level, node in enumerate(nodes):
            is_set, place = count >> level & 1, (count >> level << level) - self.count
            new_roots[level : level + 1] = [_state(node, 0, structure) if is_set else None]
            new_folds[level : level + 1] = [_state(prefixes, place, structure) if is_set else None]
        counter = replace(self, count=count, roots=tuple(new_roots), folds=tuple(new_folds))
        return unflatten([x[:, :more] for x in prefixes], structure), counter


def _sequence(tensors: Tensors) -> Tensors:
    """See a state ``(B, ...)`` as a sequence of one, ``(B, 1, ...)``."""
    return [x.unsqueeze(1) for x in tensors]


def _state(tensors: Tensors, place: int, structure: object) -> State:
    """Copy one state out of a sequence, so that the counter does not keep the sequence alive."""
    return unflatten([x[:, place].clone() for x in tensors], structure)
