"""The loop: turn after turn until the run is over, with a checkpoint now and then and at every stop.

A step is one update and what follows from it, and is never cut in two. Ctrl-C lets it finish, writes a checkpoint
and then raises KeyboardInterrupt; a second Ctrl-C does not wait. An exception inside a step leaves the last checkpoint
as it is. In all cases the same call takes the run up again, and on a CPU with the same number of threads it ends with
the weights, to the bit, that it would have had without the stop.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from scannable.training._config import RunConfig
from scannable.training._device import available
from scannable.training._folder import CHECKPOINT, METRICS, MODEL, claim, settle
from scannable.training._log import Event, Log, Report
from scannable.training._run import Run

Stop = Literal["solved", "steps", "time"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a run ended.

    Attributes:
        folder: Where its files are; ``load(folder)`` gives the model.
        stopped: What ended it: the longest length was solved, the last step was made, or the time was over.
        solved: Whether the last check found the longest length solved.
        length: The length of the stage it reached.
        step: The last update.
        seconds: Training time, that of interrupted sessions counted in.
    """

    folder: Path
    stopped: Stop
    solved: bool
    length: int
    step: int
    seconds: float


def train(config: RunConfig, folder: Path | str, *, report: Report | None = None) -> Result:
    """Train a model, or take up a run that was interrupted.

    Nothing is written outside ``folder``, nothing printed, and the caller's random generators stay as they are.

    Args:
        config: The run.
        folder: A new or empty folder, or that of a run of the same config. What decides no weight may differ:
            ``time_limit``, ``log_every``, ``save_every`` and ``tensorboard`` are those of the latest call, so a run
            that its time limit stopped goes on with a larger one. One that is over is not touched, except that a
            model file that is lost or damaged is written again from the checkpoint.
        report: Called with every event, between steps.

    Raises:
        ValueError: If the folder belongs to something else, or its checkpoint is damaged; nothing is overwritten.
        OSError: If the folder cannot be made or written.
        FloatingPointError: If the loss or a weight is no longer finite.
        KeyboardInterrupt: On Ctrl-C, after a checkpoint.
    """
    folder, device = Path(folder), available(config.device)
    claim(folder, config)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _patient() as interrupted:
        run = Run(config, folder)
        if (folder / CHECKPOINT).exists():
            run.restore()
        elif (folder / MODEL).exists():
            raise ValueError(
                f"{folder} must hold no model, or also the checkpoint it came with, got {MODEL} and no {CHECKPOINT}; "
                f"choose another folder, or restore the checkpoint."
            )
        stopped = _stop(run)
        if stopped is not None and run.saved_step >= 0:
            run.mend()
            return _result(run, stopped)
        settle(folder, config)
        board = folder / "tensorboard" if config.tensorboard else None
        with Log(folder / METRICS, run.step, tensorboard=board) as log:
            return _loop(run, log, report or _ignore, interrupted)


def _loop(run: Run, log: Log, report: Report, interrupted: Callable[[], bool]) -> Result:
    saved = time.monotonic()
    try:
        while (stopped := _stop(run)) is None:
            events = run.turn()
            for event in events:
                log.write(event)
            for event in events:
                report(event)
            if interrupted():
                raise KeyboardInterrupt
            if time.monotonic() - saved >= run.config.save_every:
                run.save()
                saved = time.monotonic()
    except BaseException:
        if run.whole and run.step > run.saved_step:
            run.save()
        raise
    if run.step > run.saved_step:
        run.save()
    return _result(run, stopped)


def _result(run: Run, stopped: Stop) -> Result:
    return Result(
        folder=run.folder,
        stopped=stopped,
        solved=run.curriculum.solved,
        length=run.curriculum.length,
        step=run.step,
        seconds=run.seconds,
    )


def _stop(run: Run) -> Stop | None:
    config = run.config
    if config.curriculum.stop and run.curriculum.solved:
        return "solved"
    if run.step >= config.steps:
        return "steps"
    if config.time_limit is not None and run.seconds >= config.time_limit:
        return "time"
    return None


@contextmanager
def _patient() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a note; a handler that somebody else has set is left alone."""
    noted = threading.Event()

    def note(number: int, frame: Any) -> None:
        if noted.is_set():
            signal.default_int_handler(number, frame)
        noted.set()

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield noted.is_set
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if noted.is_set():
        raise KeyboardInterrupt


def _ignore(event: Event) -> None:
    pass
