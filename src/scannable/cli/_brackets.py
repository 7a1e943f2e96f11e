"""A text as a tree: an aggregator whose states are texts and whose merges write brackets."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from scannable.scans import Counter, scan

LONGEST = 12


class Brackets:
    """Merge two texts by writing both between brackets, which is neither associative nor commutative.

    A state holds the codes of its characters, filled up with zeros to one width, ``(R, W)``.
    """

    def combine(self, left: Int64[Tensor, "R W"], right: Int64[Tensor, "R W"]) -> Int64[Tensor, "R W"]:
        pairs = zip(decode(left), decode(right), strict=True)
        return encode([f"({earlier}{later})" for earlier, later in pairs], left.shape[1])

    def identity(self, like: Int64[Tensor, "B W"]) -> Int64[Tensor, "B W"]:
        return torch.zeros_like(like)


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """The first ``count`` characters, bracketed twice.

    Attributes:
        count: How many characters.
        parallel: What the scan over a tree wrote.
        streaming: What the counter wrote.
        roots: The perfect trees that the counter keeps, the oldest first.
    """

    count: int
    parallel: str
    streaming: str
    roots: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether both forms put every bracket at the same place, and keep every character."""
        bare = self.parallel.replace("(", "").replace(")", "")
        return self.parallel == self.streaming and len(bare) == self.count


def check_text(text: str) -> None:
    """Refuse a text that cannot be bracketed."""
    if not 1 <= len(text) <= LONGEST or set(text) & set("()\0"):
        raise ValueError(
            f"text must have 1 to {LONGEST} characters, none of them a bracket, got {text!r}; try a word."
        )


def bracketings(text: str) -> list[Prefix]:
    """Bracket every prefix of a text by the parallel and by the streaming form."""
    check_text(text)
    leaves = encode(text, 3 * len(text))[None]
    parallel = decode(scan(Brackets(), leaves, inclusive=True)[0])
    counter, found = Counter.empty(Brackets(), leaves[:, 0]), []
    for place, whole in enumerate(parallel):
        counter = counter.push(leaves[:, place])
        roots = tuple(decode(root)[0] for root in reversed(counter.roots) if root is not None)
        streamed = decode(counter.prefix)[0]
        found.append(Prefix(count=counter.count, parallel=whole, streaming=streamed, roots=roots))
    return found


def encode(texts: Sequence[str], width: int) -> Int64[Tensor, "R W"]:
    """Write texts as rows of character codes."""
    return torch.tensor([[ord(c) for c in text.ljust(width, "\0")] for text in texts])


def decode(state: Int64[Tensor, "R W"]) -> list[str]:
    """Read rows of character codes."""
    return ["".join(map(chr, row)).rstrip("\0") for row in state.tolist()]


def tree_lines(bracketed: str) -> list[str]:
    """Draw a bracketed text as a tree, its leaves in the first line and its root in the last."""
    nodes: list[tuple[int, int]] = []  # column and row of each subtree that waits for its sibling
    marks: dict[tuple[int, int], str] = {}
    leaves = 0
    for character in bracketed:
        if character == ")":
            (right, low), (left, high) = nodes.pop(), nodes.pop()
            row, column = max(low, high) + 1, (left + right) // 2
            for place, start in ((left, high), (right, low)):
                marks |= {(above, place): "│" for above in range(start + 1, row)}
            marks |= {(row, place): "─" for place in range(left, right)}
            marks |= {(row, left): "└", (row, right): "┘", (row, column): "┬"}
            nodes.append((column, row))
        elif character != "(":
            marks[0, 4 * leaves] = character
            nodes.append((4 * leaves, 0))
            leaves += 1
    height, width = 1 + max(row for row, _ in marks), 1 + max(column for _, column in marks)
    return ["".join(marks.get((row, x), " ") for x in range(width)).rstrip() for row in range(height)]
