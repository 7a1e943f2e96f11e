"""The loop: turn after turn until the run is over, with a checkpoint now and then and at every stop.

A step is one update and what follows from it, and is never cut in two. Ctrl-C lets it finish, writes a checkpoint
and then raises KeyboardInterrupt; a second Ctrl-C does not wait. An exception inside a step leaves the last checkpoint
as it is. In all cases the same call takes the run up again, and on a CPU with the same number of threads and processes
it ends with the weights, to the bit, that it would have had without the stop.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from scannable.training._device import available
from scannable.training._distributed import joined
from scannable.training._files import writing
from scannable.training._folder import CHECKPOINT, METRICS, MODEL, check_types, claim, move_text, settle
from scannable.training._kinds import AnyRunConfig
from scannable.training._lock import locked
from scannable.training._log import Event, Log, Report
from scannable.training._run import Run

Stop = Literal["solved", "steps", "time"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a run ended.

    Attributes:
        folder: Where its files are; ``load(folder)`` gives the model.
        stopped: What ended it: the longest length was solved, the last step was made, or the time was over.
        solved: Whether the last check found the longest length solved; text never is.
        length: The longest sequences that it reached.
        step: The last update.
        seconds: Training time, that of interrupted sessions counted in.
    """

    folder: Path
    stopped: Stop
    solved: bool
    length: int
    step: int
    seconds: float


def train(
    config: AnyRunConfig,
    folder: Path | str,
    *,
    report: Report | None = None,
    about: Callable[[str], None] | None = None,
) -> Result:
    """Train a model, or take up a run that was interrupted.

    Nothing is written outside ``folder``, nothing printed, and the caller's random generators stay as they are. Under
    torchrun all processes make this call, and share every step: the first one writes and reports, each takes the GPU
    of its number if the device is ``cuda``, and files are as with one process, so that any number can go on with them.

    Args:
        config: The run.
        folder: A new or empty folder, or that of a run of the same config, or of any that has no checkpoint yet. What
            decides no weight may differ: ``time_limit``, ``log_every``, ``save_every``, ``tensorboard``, ``parallel``
            and where the text lies are those of the latest call, so a run that its time limit stopped goes on with a
            larger one. One that is over is not touched, except that it notes where its text lies now, and that a
            model file that is lost or damaged is written again from the checkpoint.
        report: Called with every event, between steps.
        about: Called before the first step of a run on text with a line for a person: what is read, and what held out.

    Raises:
        ValueError: If a field of the config has another type than it should, the folder belongs to something else,
            another process trains in it, or its checkpoint is damaged; nothing is overwritten.
        OSError: If the folder cannot be made or written.
        FloatingPointError: If the loss or a weight is no longer finite.
        KeyboardInterrupt: On Ctrl-C, after a checkpoint.
    """
    check_types(config)
    folder, device = Path(folder), available(config.device)
    devices = [device] if device.type == "cuda" else []
    with (
        joined(device) as peers,
        torch.random.fork_rng(devices=devices),
        _patient() as interrupted,
        closing(Run(config, folder, peers)) as run,
        ExitStack() as held,
    ):
        alone = peers.lead(lambda: held.enter_context(locked(folder)))
        return _train(run, report or _ignore, about or _ignore, interrupted, alone=alone)


def _train(
    run: Run,
    report: Report,
    about: Callable[[str], None],
    interrupted: Callable[[], bool],
    *,
    alone: bool,
) -> Result:
    config, folder = run.config, run.folder
    if run.peers.lead(lambda: _begun(folder, config, alone=alone)):
        run.restore()
    if run.peers.leads and run.course.about:
        about(run.course.about)
    stopped = _stop(run)
    if stopped is not None and run.saved_step >= 0:
        run.mend()
        if run.peers.leads:
            move_text(folder, config)
        return _result(run, stopped)
    if not run.peers.leads:
        return _loop(run, _ignore, _ignore, interrupted)
    settle(folder, config)
    board, metrics = folder / "tensorboard" if config.tensorboard else None, folder / METRICS
    with writing(metrics):
        log = Log(metrics, run.step, tensorboard=board)

    def note(event: Event) -> None:
        with writing(metrics):
            log.write(event)

    with log:
        return _loop(run, note, report, interrupted)


def _begun(folder: Path, config: AnyRunConfig, *, alone: bool) -> bool:
    """Claim the folder of a run; tell whether it holds a checkpoint."""
    claim(folder, config, alone=alone)
    if (folder / MODEL).exists() and not (folder / CHECKPOINT).exists():
        raise ValueError(
            f"{folder} must hold no model, or also the checkpoint it came with, got {MODEL} and no {CHECKPOINT}; "
            f"choose another folder, or restore the checkpoint."
        )
    return (folder / CHECKPOINT).exists()


def _loop(run: Run, note: Report, report: Report, interrupted: Callable[[], bool]) -> Result:
    saved = time.monotonic()
    while (stopped := _stop(run)) is None:
        events, failure, noted = run.turn(), None, False
        try:
            for event in events:
                note(event)
            noted = True
            for event in events:
                report(event)
        except BaseException as error:  # noqa: BLE001 - raised again once all processes have kept the step
            failure = error
        late = time.monotonic() - saved >= run.config.save_every
        stop, late, lost = run.peers.agree(interrupted() or failure is not None, late, not noted)
        # What could not be noted down is not behind the checkpoint: it comes again.
        if (stop or late) and not lost:
            run.save()
            saved = time.monotonic()
        if stop:
            raise failure or KeyboardInterrupt
    if run.step > run.saved_step:
        run.save()
    return _result(run, stopped)


def _result(run: Run, stopped: Stop) -> Result:
    return Result(
        folder=run.folder,
        stopped=stopped,
        solved=run.course.solved,
        length=run.course.length,
        step=run.step,
        seconds=run.seconds,
    )


def _stop(run: Run) -> Stop | None:
    config = run.config
    if run.course.over:
        return "solved"
    if run.step >= config.steps:
        return "steps"
    if config.time_limit is not None and any(run.peers.agree(run.seconds >= config.time_limit)):
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


def _ignore(said: Event | str) -> None:
    pass
