"""What a run says as it goes: events, one JSON line each, for a callback and, if asked for, TensorBoard."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from scannable.training._files import write_text


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Training, since the last event of this kind, or since the run was taken up.

    Attributes:
        step: The last update.
        steps: How many there are to be.
        length: The longest length that is drawn now.
        loss: The mean over the steps.
        rate: The learning rate of the last update.
        gradient_norm: The norm of the last gradient before it was clipped.
        tokens_per_second: Tokens trained on, over the time.
        seconds: Training time since the run began, that of interrupted sessions counted in.
        processes: How many shared the updates.
    """

    step: int
    steps: int
    length: int
    loss: float
    rate: float
    gradient_norm: float
    tokens_per_second: float
    seconds: float
    processes: int


@dataclass(frozen=True, kw_only=True)
class Check:
    """The current length, scored on fresh words.

    Attributes:
        step: The update after which it was scored.
        stage: Which stage of the curriculum was scored, counted from 0.
        length: The length of its words.
        loss: The mean cross-entropy.
        error: The fraction of all places that are wrong.
        final_error: The fraction of words whose last answer is wrong, which decides.
        solved: Whether that was low enough.
    """

    step: int
    stage: int
    length: int
    loss: float
    error: float
    final_error: float
    solved: bool


@dataclass(frozen=True, kw_only=True)
class TextCheck:
    """Held-out text, scored.

    Attributes:
        step: The update after which it was scored.
        tokens: How many tokens were predicted.
        loss: Their mean cross-entropy (nats).
        perplexity: ``exp(loss)``; None if it is too large for a float.
        bits_per_byte: The same in bits, over the bytes of the text.
    """

    step: int
    tokens: int
    loss: float
    perplexity: float | None
    bits_per_byte: float


Event = Progress | Check | TextCheck
Report = Callable[[Event], None]


class Log:
    """The metrics of a run; a context manager.

    Args:
        path: The file of JSON lines. What it says of steps after ``step`` is taken out, since they come again.
        step: Where the run stands.
        tensorboard: A folder for TensorBoard's files, or None.
    """

    def __init__(self, path: Path, step: int, *, tensorboard: Path | None = None) -> None:
        _trim(path, step)
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._board = None if tensorboard is None else _board(tensorboard, step)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, event: Event) -> None:
        """Append an event."""
        name, values = type(event).__name__.lower(), asdict(event)
        self._file.write(json.dumps({"event": name, **values}, allow_nan=False) + "\n")
        self._file.flush()
        if self._board is not None:
            for key, value in values.items():
                if key not in ("step", "steps") and value is not None:
                    self._board.add_scalar(f"{name}/{key}", value, event.step)


def _trim(path: Path, step: int) -> None:
    """Keep the lines up to ``step``; a last line that breaks off goes too."""
    if not path.exists():
        return
    old = path.read_text(encoding="utf-8", errors="replace")
    kept = []
    for line in old.splitlines(keepends=True):
        try:
            if json.loads(line)["step"] > step or not line.endswith("\n"):
                break
        except (ValueError, KeyError, TypeError):
            break
        kept.append(line)
    if (new := "".join(kept)) != old:
        write_text(path, new)


def _board(folder: Path, step: int) -> Any:
    with contextlib.suppress(ImportError):
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder), purge_step=step + 1)
    raise ImportError(
        "tensorboard=True needs the package tensorboard, got an environment without it; "
        "pip install '.[tensorboard]' in a clone of scannable, or set tensorboard=False."
    )
