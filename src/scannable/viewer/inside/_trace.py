"""A run from the inside: one sequence, the tree that the model's own scan made of it, and what was in each state."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor

from scannable.data import Tokenizer
from scannable.models import PrefixScannable
from scannable.modules import Codebook
from scannable.scans import State
from scannable.tasks import WordProblem
from scannable.viewer.inside._decode import codes, digits, elements, lens, likeliest
from scannable.viewer.inside._file import FORMAT, LEAVES
from scannable.viewer.inside._recorder import Node, Recorder

PIECE = 256
"""Tokens, or states, whose logits are in memory together."""


@torch.no_grad()
def trace(
    model: Any,
    tokens: Int64[Tensor, " T"],
    targets: Int64[Tensor, " T"] | None = None,
    *,
    reads: WordProblem | Tokenizer | None = None,
    title: str = "",
) -> dict[str, Any]:
    """Read one sequence with a prefix-scannable model, and write down its tree.

    The last token's chunk is no leaf, since no state is made of it.

    The trace is a dictionary that JSON can hold; ``read_trace`` tells its form. Numbers have four digits, and one that
    is not finite is null. In it are:

    - ``nodes``, the leaves first and then the merges as they were made: which nodes were merged (``left``, ``right``)
      in which batched ``call``; the height above the leaves (``level``); the ``first`` and the ``last`` leaf below;
      the root mean square of the state (``size``); how far it is from its children's states (``from_left``,
      ``from_right``: the norm of the difference over the larger of the two norms); for a ``TransformerAggregator`` the
      share of ``attention`` on the left and on the right state's slots, averaged over heads, layers and the slots
      that become the merged state, and the same of each of its ``layers``; and the ``code`` of the last slot where
      there is a codebook. For word problems the ``element`` that the model takes the state for: what it answers
      where it reads the identity after it; beside the true ``product`` of the tokens below. For other models the
      ``lens``: the likeliest tokens if the head is applied to the normed last slot, which the model never does.
    - ``chunks``: the node whose state each was read with (``prefix``), and the likeliest answers at its last token.
    - ``tokens``: id, target, the likeliest answer (``predicted``), whether it is ``correct``, and the ``loss`` (nats).

    Args:
        model: A ``PrefixScannable`` model that reads ids and gives logits, ``(1, T, V)``, in evaluation mode.
        tokens: ``T >= 1`` ids, on the model's device, of which at most 1,024 chunks become leaves.
        targets: The right answers, negative where there is none. Left out: the products for word problems, the next
            tokens for text, else none.
        reads: What the ids are: elements of a group, or pieces of text.
        title: What the trace is called.

    Raises:
        TypeError: If the model has no tree, or the tokens are not 64-bit integers.
        ValueError: If there are no tokens or too many, or the model is in training mode.
    """
    _check(model, tokens)
    chunk, leaves = model.chunk, (len(tokens) - 1) // model.chunk
    recorder = Recorder(model, _decoder(model, tokens, reads))
    features = recorder.run(tokens)
    if targets is None:
        targets = _targets(tokens, reads)
    answers, ends = _answers(model, features, tokens, targets)
    nodes = recorder.nodes
    aggregator = model.aggregator.aggregator if isinstance(model.aggregator, Codebook) else model.aggregator
    used = {entry[key] for entry in answers for key in ("id", "target", "predicted")}
    used |= {guess["id"] for row in (*ends, *(node["lens"] for node in nodes)) for guess in row}
    used |= {node[key] for node in nodes for key in ("element", "product")}
    return {
        "format": FORMAT,
        "kind": _kind(reads),
        "title": title,
        "model": {
            "name": type(model).__name__,
            "aggregator": type(aggregator).__name__,
            "parameters": sum(x.numel() for x in model.parameters()),
            "codebook": aggregator is not model.aggregator,
        },
        "chunk": chunk,
        "leaves": leaves,
        "names": [{"id": token, "text": _name(token, reads)} for token in sorted(used - {None})],
        "tokens": answers,
        "nodes": nodes,
        "chunks": [
            {"prefix": prefix, "next": row} for prefix, row in zip(recorder.prefixes, ends, strict=True)
        ],
    }


def _check(model: Any, tokens: Tensor) -> None:
    if not isinstance(model, PrefixScannable):
        raise TypeError(
            f"A trace needs a prefix-scannable model, whose scan makes a tree, got {type(model).__name__}, which has "
            f"none; give a Transformer-PSM or another PrefixScannable."
        )
    if model.token_shape:
        raise ValueError(
            f"A trace needs a model that reads ids, got one that reads vectors of shape {model.token_shape}; trace the "
            f"model around it."
        )
    if model.training:
        raise ValueError(
            "A trace needs a model in evaluation mode, got training mode; call model.eval() first."
        )
    if tokens.dtype != torch.int64 or tokens.dim() != 1:
        raise TypeError(
            f"Tokens must be torch.int64 of shape (T,), got {tokens.dtype} {tuple(tokens.shape)}; give one sequence."
        )
    most = (LEAVES + 1) * model.chunk
    if not 1 <= len(tokens) <= most:
        raise ValueError(
            f"A trace has at most {LEAVES:,} leaves, here 1 to {most:,} tokens in chunks of {model.chunk}, got "
            f"{len(tokens):,}; cut the sequence."
        )


def _decoder(
    model: PrefixScannable, tokens: Tensor, reads: WordProblem | Tokenizer | None
) -> Callable[[list[Node], State], None]:
    """Return what tells of new nodes what their states mean."""

    def words(nodes: list[Node], states: State) -> None:
        assert isinstance(reads, WordProblem)
        ends = model.chunk * (torch.tensor([node["last"] for node in nodes]) + 1)
        for node, found in zip(nodes, elements(model, states, ends.to(tokens.device)), strict=True):
            below = tokens[None, model.chunk * node["first"] : model.chunk * (node["last"] + 1)]
            node["element"], node["product"] = found, int(reads.products(below)[0, -1])
            node["correct"] = found == node["product"]

    def others(nodes: list[Node], states: State) -> None:
        logits = lens(model, states)
        if logits is not None:
            for node, row in zip(nodes, likeliest(logits), strict=True):
                node["lens"] = row

    def decode(nodes: list[Node], states: State) -> None:
        (words if isinstance(reads, WordProblem) else others)(nodes, states)
        if nodes[0]["level"]:
            for node, code in zip(nodes, codes(model.aggregator, states), strict=True):
                node["code"] = code

    return decode


def _answers(
    model: PrefixScannable, features: Tensor, tokens: Tensor, targets: Tensor
) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """Say of each token what the model answered, and of each chunk the likeliest answers at its end."""
    answers, ends = [], []
    last = [*range(model.chunk - 1, len(tokens) - 1, model.chunk), len(tokens) - 1]
    for start in range(0, len(tokens), PIECE):
        piece = slice(start, start + PIECE)
        logits = model.head(features[None, piece])[0].float()
        wanted = targets[piece].clamp_min(-1)
        losses = F.cross_entropy(logits, wanted, ignore_index=-1, reduction="none").tolist()
        found = zip(tokens[piece].tolist(), wanted.tolist(), logits.argmax(-1).tolist(), losses, strict=True)
        for token, target, predicted, loss in found:
            asked = target >= 0
            answers.append(
                {
                    "id": token,
                    "target": target if asked else None,
                    "predicted": predicted,
                    "correct": predicted == target if asked else None,
                    "loss": digits(loss) if asked else None,
                }
            )
        here = [place - start for place in last if start <= place < start + PIECE]
        ends += likeliest(logits[here]) if here else []
    return answers, ends


def _targets(tokens: Tensor, reads: WordProblem | Tokenizer | None) -> Tensor:
    if isinstance(reads, WordProblem):
        return reads.products(tokens[None])[0]
    none = torch.full_like(tokens, -1)
    return none if reads is None else torch.cat([tokens[1:], none[:1]])


def _kind(reads: WordProblem | Tokenizer | None) -> str:
    return "words" if isinstance(reads, WordProblem) else "ids" if reads is None else "text"


def _name(token: int, reads: WordProblem | Tokenizer | None) -> str:
    match reads:
        case WordProblem():
            return reads.group.names[token]
        case Tokenizer():
            return reads.tokens[token].decode("utf-8", "backslashreplace")
        case _:
            return str(token)
