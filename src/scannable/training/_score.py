"""How well a language model predicts a text, token by token."""

from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from scannable.data import Text
from scannable.data import tokenizer as tokenizer_of
from scannable.scans import merges
from scannable.scans._option import check_option
from scannable.training._config import Precision
from scannable.training._evaluate import Form, streamed
from scannable.training._scores import Reading, Scores

LOGITS = 4096
"""Places whose logits the streaming form has in memory together: 0.8 GB in float32 with GPT-2's vocabulary."""


def score(
    model: nn.Module,
    text: Text,
    *,
    length: int,
    reading: Reading,
    form: Form = "parallel",
    tokens: int = 65_536,
    piece: int | None = None,
    singles: int = 8,
    precision: Precision = "float32",
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score every token of a text but the very first, by the output after the token before it.

    *Blocked*, the text is cut every ``length`` tokens: window ``i`` reads tokens ``iT .. iT + T - 1`` and predicts
    ``iT + 1 .. iT + T``; the last may be shorter, nothing is carried over, articles are ignored. *Carried*, the state
    is kept through an article and reset at its end; an article is read from the last token of the one before it, so
    that its own first token is predicted too. So both readings score the same tokens.

    Args:
        model: A language model with ``features`` and a ``head``; for the streaming form with ``start``, ``step`` and
            ``prefill`` too. It is used in evaluation mode and left as it was.
        text: What is read.
        length: ``T``, the tokens of a window; the carried reading has no use for it.
        reading: ``"blocked"`` or ``"carried"``.
        form: ``"parallel"`` reads a window or an article at once, ``"streaming"`` carries a stream from piece to piece.
        tokens: How many tokens the model may be given at once, which bounds the memory; a window, an article or one
            piece is always given whole.
        piece: Tokens in a piece of the streaming form; left out: 200, or two fifths of a window if that is less. Out of
            step with chunks, so that streams are put to the test.
        singles: Tokens that it reads step by step after each piece.
        precision: With ``"bfloat16"`` the model runs under autocast; losses are float32 or wider all the same.
        progress: Called with the tokens scored so far and their number in all.

    Raises:
        ValueError: If an option makes no sense, the text has fewer than two tokens or ids that the model does not
            know, or an article is longer than the model's positions.
        FloatingPointError: If a loss is not finite.
    """
    if piece is None:
        piece = min(200, 2 * length // 5 | 1) if reading == "blocked" else 200
    _check(model, text, length=length, tokens=tokens, piece=piece, singles=singles)
    check_option("reading", reading, get_args(Reading))
    check_option("form", form, get_args(Form))
    check_option("precision", precision, get_args(Precision))
    count = len(text.ids) - 1
    edges = _edges(text, reading, length)
    nats, device = np.empty(count), next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            for start, rows, size in _batches(edges, form, tokens, piece):
                stop = start + rows * size
                ids = torch.from_numpy(text.ids[start : stop + 1].astype(np.int64)).to(device)
                read, targets = ids[:-1].view(rows, size), ids[1:].view(rows, size)
                if form == "parallel":
                    losses = _read(model, read, targets)
                else:
                    losses = _stream(model, read, targets, piece, singles)
                nats[start:stop] = losses.flatten().cpu().numpy()
                if progress is not None:
                    progress(stop, count)
    finally:
        model.train(was_training)
    if not np.isfinite(nats).all():
        place = int(np.flatnonzero(~np.isfinite(nats))[0])
        raise FloatingPointError(
            f"Every loss must be a finite number, got {nats[place]} for token {place + 1} of the text; score a model "
            f"whose weights have not diverged."
        )
    chunk = getattr(model, "chunk", None)
    return Scores(
        reading=reading,
        form=form,
        length=length if reading == "blocked" else None,
        nats=nats,
        places=np.arange(count) - np.repeat(edges[:-1], np.diff(edges)),
        articles=np.searchsorted(text.starts, np.arange(1, count + 1), side="right") - 1,
        bytes=text.bytes - int(tokenizer_of(text.tokenizer).lengths(text.ids[:1])[0]),
        words=text.words,
        chunk=chunk,
        merges=None if chunk is None else _merges(edges, chunk, form),
    )


def _check(model: Any, text: Text, *, length: int, tokens: int, piece: int, singles: int) -> None:
    if min(length, tokens, piece) < 1 or singles < 0:
        raise ValueError(
            f"length, tokens and piece must be at least 1 and singles at least 0, got length={length}, "
            f"tokens={tokens}, piece={piece} and singles={singles}; raise them."
        )
    if len(text.ids) < 2:
        raise ValueError(
            f"A text must have at least 2 tokens, one to read and one to predict, got {len(text.ids)}; give a "
            f"longer one."
        )
    vocabulary, largest = len(model.head.codes.weight), int(text.ids.max())
    if largest >= vocabulary:
        raise ValueError(
            f"The ids of a text must be below {vocabulary}, the model's vocabulary, got {largest}; read the text with "
            f"the tokenizer that the model was trained with."
        )


def _edges(text: Text, reading: Reading, length: int) -> Int64[np.ndarray, " edges"]:
    """Return where each window or article begins to be read, and where the last ends."""
    end = len(text.ids) - 1
    if reading == "blocked":
        return np.append(np.arange(0, end, length), end)
    # An article of one token at the very beginning has nothing to predict.
    return np.unique([0, *(text.starts[1:] - 1), end])


def _batches(
    edges: Int64[np.ndarray, " edges"], form: Form, tokens: int, piece: int
) -> Iterator[tuple[int, int, int]]:
    """Put neighbours of one size side by side: where the first begins, how many they are, and their size."""
    sizes, first = np.diff(edges).tolist(), 0
    while first < len(sizes):
        size = sizes[first]
        most = tokens // size if form == "parallel" else min(tokens, LOGITS) // min(size, piece)
        last = first + 1
        while last < min(len(sizes), first + most) and sizes[last] == size:
            last += 1
        yield int(edges[first]), last - first, size
        first = last


def _read(model: Any, read: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    return model.head.losses(model.features(read), targets)


def _stream(
    model: Any, read: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], piece: int, singles: int
) -> Float[Tensor, "B T"]:
    """Read piece by piece and some tokens step by step, and carry the stream."""
    losses = []
    for place, logits, _ in streamed(model, read, piece, singles):
        wide = logits if logits.dtype == torch.float64 else logits.float()
        target = targets[:, place]
        found = F.cross_entropy(wide.flatten(0, 1), target.flatten(), reduction="none")
        losses.append(found.view(target.shape))
    return torch.cat(losses, 1)


def _merges(edges: Int64[np.ndarray, " edges"], chunk: int, form: Form) -> int:
    """Count the merges behind all readings.

    In parallel no state is needed of the chunk that holds the last token; a stream is ready for one more.
    """
    leaves = (np.diff(edges) - (form == "parallel")) // chunk
    return sum(merges(count) for count in leaves.tolist())
