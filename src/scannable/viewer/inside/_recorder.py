"""A model that writes down what it merges: its own encoder, aggregator and inference module, on numbered states.

Each state travels with its number through the model's own scan. So what is recorded is what ran: no other tree can
be shown, whatever the scan does.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from scannable.models import PrefixScannable
from scannable.modules import Inference
from scannable.scans import State
from scannable.viewer.inside._attention import attention
from scannable.viewer.inside._decode import digits

Node = dict[str, Any]
"""A state as the trace tells it."""

Numbered = tuple[Tensor, State]
"""The numbers ``(R,)`` of states, and the states."""


class Recorder:
    """Runs a model, and keeps what its parts were given and gave.

    Args:
        model: Any prefix-scannable model.
        decode: ``decode(nodes, states, merged)`` adds to new nodes what their states mean.
    """

    def __init__(self, model: PrefixScannable, decode: Any) -> None:
        self.decode, self.aggregator = decode, model.aggregator
        self.nodes: list[Node] = []
        self.prefixes: list[int | None] = []
        self.calls = 0
        self.watched = PrefixScannable(
            _Encoder(model.encoder), _Aggregator(self), _Inference(self, model.inference), chunk=model.chunk
        )

    def run(self, tokens: Tensor) -> Tensor:
        """Read one sequence ``(T,)``; return what the head would read, ``(T, ...)``."""
        count = (len(tokens) - 1) // self.watched.chunk
        if count:
            whole = tokens[None, : count * self.watched.chunk]
            states = tree_map(lambda x: x[0], self.watched._encode(whole, 0)[1])
            self.add([{"level": 0, "first": leaf, "last": leaf} for leaf in range(count)], states)
        return self.watched.features(tokens[None])[0]

    def merge(self, left: Numbered, right: Numbered) -> Numbered:
        """Let the aggregator merge, and note a node for each row."""
        with attention(self.aggregator) as layers:
            merged = self.aggregator.combine(left[1], right[1])
        news = [
            {
                "left": one,
                "right": other,
                "level": 1 + max(self.nodes[one]["level"], self.nodes[other]["level"]),
                "first": self.nodes[one]["first"],
                "last": self.nodes[other]["last"],
                "call": self.calls,
            }
            for one, other in zip(left[0].tolist(), right[0].tolist(), strict=True)
        ]
        for side, operand in (("from_left", left[1]), ("from_right", right[1])):
            for node, distance in zip(news, _distances(merged, operand), strict=True):
                node[side] = digits(distance)
        if layers:
            shares = torch.stack([torch.stack(layers, 1).mean(1), *layers], 1).tolist()
            for node, row in zip(news, shares, strict=True):
                node["attention"], *node["layers"] = (
                    {"left": digits(round(one, 4)), "right": digits(round(other, 4))} for one, other in row
                )
        self.calls += 1
        return self.add(news, merged), merged

    def add(self, news: list[Node], states: State) -> Tensor:
        """Number nodes, and note the sizes and the meaning of their states."""
        rows = _rows(states)
        for node, size in zip(news, rows.square().mean(1).sqrt().tolist(), strict=True):
            node["size"] = digits(size)
        self.decode(news, states)
        numbers = torch.arange(len(self.nodes), len(self.nodes) + len(news), device=rows.device)
        self.nodes += [{**BLANK, **node} for node in news]
        return numbers


BLANK: Node = {
    "left": None,
    "right": None,
    "call": None,
    "from_left": None,
    "from_right": None,
    "attention": None,
    "layers": [],
    "element": None,
    "product": None,
    "correct": None,
    "code": None,
    "lens": [],
}


class _Encoder(nn.Module):
    """Numbers the leaves."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.absolute = encoder, getattr(encoder, "absolute", False)

    def forward(self, tokens: Tensor, **place: Tensor) -> Numbered:
        return torch.arange(len(tokens), device=tokens.device), self.encoder(tokens, **place)


class _Aggregator:
    """Hands numbered states to the recorder; the empty prefix has number -1."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def combine(self, left: Numbered, right: Numbered) -> Numbered:
        return self.recorder.merge(left, right)

    def identity(self, like: Numbered) -> Numbered:
        return torch.full_like(like[0], -1), self.recorder.aggregator.identity(like[1])


class _Inference(Inference):
    """Notes which state each chunk is read with."""

    def __init__(self, recorder: Recorder, inference: Inference) -> None:
        super().__init__()
        self.recorder, self.inference = recorder, inference
        self.reads_identity, self.absolute = inference.reads_identity, inference.absolute

    def forward(self, prefix: Numbered | None, tokens: Tensor, **place: Tensor) -> Tensor:
        numbers, states = ([-1], None) if prefix is None else (prefix[0].tolist(), prefix[1])
        self.recorder.prefixes += [None if number < 0 else number for number in numbers]
        return self.inference(states, tokens, **place)


def _distances(states: State, others: State) -> list[float]:
    """Measure how far states are from others, relative to the larger of the two."""
    one, other = _rows(states), _rows(others)
    larger = torch.maximum(one.norm(dim=1), other.norm(dim=1))
    return torch.where(larger == 0, 0.0, (one - other).norm(dim=1) / larger).tolist()


def _rows(states: State) -> Tensor:
    """Write each state as one row of numbers."""
    return torch.cat([x.float().flatten(1) for x in tree_leaves(states)], 1)
