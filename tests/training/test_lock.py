"""One process trains in a folder, and nothing of its lock is left when it ends, however it ends."""

import os
import signal
import subprocess
import sys

import pytest

from agreement import refused
from scannable.training import train
from scannable.training._lock import LOCK, locked
from training.runs import tiny

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX locks")

HOLD = """
import sys, time
from pathlib import Path
from scannable.training._lock import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_in_one_folder_is_refused_and_the_first_goes_on(tmp_path):
    refusals = []

    def again(event):
        with refused(
            ValueError, r"run must have one process training in it, got another; wait for it, or end it\."
        ):
            train(tiny(steps=8), tmp_path / "run")
        refusals.append(event.step)

    assert train(tiny(steps=8), tmp_path / "run", report=again).step == 8
    assert refusals == [4, 5, 8, 8]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == len(refusals)
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_process_that_is_killed_lets_the_folder_go(tmp_path):
    """And its lock file, alone in the folder, does not make the folder look like something else's."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with refused(ValueError, "must have one process training in it, got another"):
            train(tiny(steps=5), tmp_path)
        holder.send_signal(signal.SIGKILL)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert train(tiny(steps=5), tmp_path).step == 5
    assert not (tmp_path / LOCK).exists()


def test_a_lock_file_that_was_taken_away_does_not_let_two_in(tmp_path, monkeypatch):
    """Whoever opened it before it was taken away opens the new one."""
    whole, opened = os.open, []

    def late(path, *rest):
        handle = whole(path, *rest)
        opened.append(handle)
        if len(opened) == 1:
            path.unlink()
        return handle

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", late)
        first = locked(tmp_path)
        first.__enter__()
    assert len(opened) == 2
    with refused(ValueError, "got another"), locked(tmp_path):
        pass
    first.__exit__(None, None, None)
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_left_to_those_who_say_so_better(tmp_path):
    (tmp_path / "file").touch()
    with locked(tmp_path / "file" / "run"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
