"""What is merged with what, and when: the library's own scan and counter, run on numbers that stand for states."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from scannable.scans import Counter, merges, perfect_trees, scan
from scannable.viewer.scan._depth import height, ways

LONGEST = 32
"""The longest sequence that a page shows."""


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """The scan of ``N`` leaves, inclusive.

    Attributes:
        calls: The nodes that each batched call makes, in the order of the calls.
        up: How many of the calls are on the way up; the others are on the way down.
        prefixes: At ``t - 1`` the node that is the prefix of ``t`` leaves.
        merges: How many merges the formula says.
        depth: How many calls up and how many down the formula says; see ``ways``.
    """

    calls: list[list[int]]
    up: int
    prefixes: list[int]
    merges: int
    depth: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Push:
    """One leaf pushed into the counter, and the counter after it.

    Attributes:
        carries: The nodes that the carries make, in order.
        fold: The node that the fold makes, or None where the new root is the prefix.
        roots: At ``k`` the node that is the root of bit ``k``, or None where the bit is not set.
        folds: At ``k`` the prefix down to that root, likewise.
        prefix: The node that is the prefix.
        merges: How many merges the formula says for all leaves so far.
        kept: How many roots the formula says.
        depth: How many merges lie one above another in the prefix, as the formula says; see ``height``.
        refolds: The nodes that a fold of all roots makes, the oldest first; see ``refolds``.
    """

    carries: list[int]
    fold: int | None
    roots: list[int | None]
    folds: list[int | None]
    prefix: int
    merges: int
    kept: int
    depth: int
    refolds: list[int]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All lengths up to ``longest``; nodes are shared, since a stream of fewer leaves is the start of a longer one.

    Attributes:
        longest: How many leaves there are; they are the nodes ``0 .. longest - 1``.
        nodes: At ``i`` the two nodes that node ``longest + i`` merges, the earlier span first.
        spans: At ``i`` the leaves that node ``longest + i`` covers, from ``start`` to before ``stop``.
        parallel: At ``N - 1`` the scan of ``N`` leaves.
        pushes: At ``t`` the push of leaf ``t``.
        plain: At ``t - 1`` the plain left-to-right fold of ``t`` leaves, which is another function.
    """

    longest: int
    nodes: list[tuple[int, int]]
    spans: list[tuple[int, int]]
    parallel: list[Parallel]
    pushes: list[Push]
    plain: list[int]


class Recorder:
    """The freest operator: a state is the number of a node, and every new pair of operands is a new node.

    Attributes:
        nodes: The number of each pair of operands that was merged.
        calls: The nodes that each call made, in the order of the calls.
    """

    def __init__(self) -> None:
        self.nodes: dict[tuple[int, int], int] = {}
        self.calls: list[list[int]] = []

    def combine(self, left: Int64[Tensor, " R"], right: Int64[Tensor, " R"]) -> Int64[Tensor, " R"]:
        pairs = zip(left.tolist(), right.tolist(), strict=True)
        made = [self.nodes.setdefault(pair, LONGEST + len(self.nodes)) for pair in pairs]
        self.calls.append(made)
        return torch.tensor(made)

    def identity(self, like: Int64[Tensor, " B"]) -> Int64[Tensor, " B"]:
        return torch.full_like(like, -1)

    def taken(self) -> list[list[int]]:
        """Hand over the calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


def plan() -> Plan:
    """Run both forms for every length up to ``LONGEST``, and write down what they merged."""
    recorder = Recorder()
    pushes = _pushes(recorder)  # first, so that the nodes are numbered in the order of the stream
    parallel = [_parallel(recorder, length, pushes) for length in range(1, LONGEST + 1)]
    plain = _plain(recorder)
    nodes, spans = list(recorder.nodes), [(leaf, leaf + 1) for leaf in range(LONGEST)]
    for left, right in nodes:
        spans.append((spans[left][0], spans[right][1]))
    return Plan(
        longest=LONGEST, nodes=nodes, spans=spans[LONGEST:], parallel=parallel, pushes=pushes, plain=plain
    )


def refolds(recorder: Recorder, roots: list[int]) -> list[int]:
    """Fold all roots, the oldest first, and return the nodes that this makes.

    So the prefix is found in [1] (v2, Algorithm 2) and in the code of its authors, after every chunk anew;
    ``Counter`` keeps its folds, and makes only the last of these merges.

    [1] Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918.
    """
    recorder.taken()
    state, *others = (torch.tensor([root]) for root in roots)
    for root in others:
        state = recorder.combine(state, root)
    return [node for (node,) in recorder.taken()]


def _pushes(recorder: Recorder) -> list[Push]:
    counter, found = Counter.empty(recorder, torch.tensor([0])), []
    for leaf in range(LONGEST):
        recorder.taken()
        counter = counter.push(torch.tensor([leaf]))
        made = [node for (node,) in recorder.taken()]
        roots, folds = _numbers(counter.roots), _numbers(counter.folds)
        kept = [root for root in reversed(roots) if root is not None]
        folded = len(kept) > 1
        found.append(
            Push(
                carries=made[:-1] if folded else made,
                fold=made[-1] if folded else None,
                roots=roots,
                folds=folds,
                prefix=int(counter.prefix),
                merges=merges(counter.count),
                kept=len(perfect_trees(counter.count)),
                depth=height(counter.count),
                refolds=refolds(recorder, kept),
            )
        )
    return found


def _parallel(recorder: Recorder, length: int, pushes: list[Push]) -> Parallel:
    recorder.taken()
    prefixes = scan(recorder, torch.arange(length)[None], inclusive=True)[0].tolist()
    calls, trees = recorder.taken(), {node for push in pushes for node in push.carries}
    return Parallel(
        calls=calls,
        up=sum(trees.issuperset(call) for call in calls),
        prefixes=prefixes,
        merges=merges(length),
        depth=ways(length),
    )


def _plain(recorder: Recorder) -> list[int]:
    states = [torch.tensor([0])]
    for leaf in range(1, LONGEST):
        states.append(recorder.combine(states[-1], torch.tensor([leaf])))
    return [int(state) for state in states]


def _numbers(states: tuple[Tensor | None, ...]) -> list[int | None]:
    return [None if state is None else int(state) for state in states]
