"""How well and how fast a model does at each of several lengths, in its parallel or its streaming form."""

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scannable.scans._option import check_option
from scannable.tasks import Batch, Task, error_without_last, final_error, loss, token_error
from scannable.training._seeds import derive

Form = Literal["parallel", "streaming"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured at one length.

    Attributes:
        length: Tokens in a sequence.
        form: Which form of the model read them.
        sequences: How many there were.
        loss: The mean cross-entropy.
        error: The fraction of all places that are wrong.
        final_error: The fraction of sequences whose last place is wrong.
        error_without_last: As ``error``, the last places left out; None at length 1.
        seconds: The time that the model took.
        tokens_per_second: Tokens of all sequences over that time.
        stream_bytes: The bytes of one sequence's stream, the most after any piece; None in the parallel form.
    """

    length: int
    form: Form
    sequences: int
    loss: float
    error: float
    final_error: float
    error_without_last: float | None
    seconds: float
    tokens_per_second: float
    stream_bytes: int | None


def evaluate(
    model: nn.Module,
    task: Task,
    lengths: Iterable[int],
    *,
    sequences: int = 256,
    form: Form = "parallel",
    piece: int = 512,
    singles: int = 0,
    tokens: int = 65_536,
    seed: int = 0,
) -> list[Evaluation]:
    """Score a model on fresh sequences of each length.

    The sequences depend on seed, length and their number only, so every model and form can be given the same ones.

    Args:
        model: A language model; in the streaming form one with ``start``, ``step`` and ``prefill``.
        task: What draws the sequences.
        lengths: The lengths, one record each.
        sequences: How many of each length.
        form: ``"parallel"`` reads whole sequences, ``"streaming"`` carries a stream from piece to piece.
        piece: Tokens in a piece; with 1 the model goes step by step.
        singles: Tokens that are read step by step after each piece.
        tokens: How many tokens the model may be given at once, which bounds the memory; one sequence or
            one piece of it is always given whole.
        seed: Decides the sequences.

    Raises:
        ValueError: If ``form`` is not one of these, or a number is below 1.
    """
    check_option("form", form, get_args(Form))
    if singles < 0:
        raise ValueError(f"singles must be at least 0, got singles={singles}; raise it.")
    if min(sequences, piece, tokens) < 1:
        raise ValueError(
            f"sequences, piece and tokens must be at least 1, got sequences={sequences}, piece={piece} and "
            f"tokens={tokens}; raise them."
        )
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return [
                _evaluate_length(
                    model,
                    task,
                    length,
                    sequences=sequences,
                    form=form,
                    piece=piece,
                    singles=singles,
                    tokens=tokens,
                    seed=seed,
                )
                for length in lengths
            ]
    finally:
        model.train(was_training)


def _evaluate_length(
    model: nn.Module,
    task: Task,
    length: int,
    *,
    sequences: int,
    form: Form,
    piece: int,
    singles: int,
    tokens: int,
    seed: int,
) -> Evaluation:
    batch = task.batch(sequences, length, torch.Generator().manual_seed(derive(seed, "evaluate", length)))
    at_once = length if form == "parallel" else min(length, piece)
    rows = max(1, tokens // at_once)
    scores = _Scores(next(model.parameters()).device)
    for start in range(0, sequences, rows):
        some = batch.rows(start, min(start + rows, sequences))
        if form == "parallel":
            scores.read(model, some)
        else:
            scores.stream(model, some, piece, singles)
    predictions = torch.cat(scores.predictions)
    return Evaluation(
        length=length,
        form=form,
        sequences=sequences,
        loss=scores.loss / max(1, int(batch.mask.sum())),
        error=token_error(predictions, batch),
        final_error=final_error(predictions, batch),
        error_without_last=error_without_last(predictions, batch) if length > 1 else None,
        seconds=scores.seconds,
        tokens_per_second=sequences * length / max(scores.seconds, 1e-9),
        stream_bytes=scores.stream_bytes,
    )


class _Scores:
    """Predictions, summed loss and time of all that a model has read."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.predictions: list[Tensor] = []
        self.loss = self.seconds = 0.0
        self.stream_bytes: int | None = None

    def read(self, model: nn.Module, batch: Batch) -> None:
        """Read whole sequences."""
        self.predictions.append(self._add(self._timed(model, batch.tokens.to(self.device)), batch))

    def stream(self, model: Any, batch: Batch, piece: int, singles: int) -> None:
        """Read piece by piece and carry the stream."""
        read, pieces = [], streamed(model, batch.tokens.to(self.device), piece, singles)
        while found := self._timed(next, pieces, None):
            place, logits, stream = found
            read.append(self._add(logits, Batch(*(x[:, place] for x in batch))))
            self.stream_bytes = max(self.stream_bytes or 0, stream.nbytes // len(batch.tokens))
        self.predictions.append(torch.cat(read, 1))

    def _add(self, logits: Tensor, batch: Batch) -> Tensor:
        asked = int(batch.mask.sum())
        if asked:
            self.loss += asked * float(loss(logits, batch.to(self.device)))
        return logits.argmax(-1).cpu()

    def _timed(self, function: Any, *args: Any) -> Any:
        self._wait()
        start = time.perf_counter()
        result = function(*args)
        self._wait()
        self.seconds += time.perf_counter() - start
        return result

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def streamed(
    model: Any, tokens: Int[Tensor, "B T"], piece: int, singles: int
) -> Iterator[tuple[slice, Float[Tensor, "B n V"], Any]]:
    """Read a piece, some single tokens, a piece, and so on; yield the place of each, its logits, and the stream."""
    stream, start = model.start(len(tokens)), 0
    for size in itertools.cycle((piece, *[1] * singles)):
        part = tokens[:, start : start + size]
        if not part.shape[1]:
            return
        if part.shape[1] == 1:
            logits, stream = model.step(stream, part[:, 0])
            logits = logits[:, None]
        else:
            logits, stream = model.prefill(stream, part, logits="all")
        yield slice(start, start + size), logits, stream
        start += size
