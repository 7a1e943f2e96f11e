"""Runs on text that are killed, have no room, or lose their data, each in a process of its own."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scannable.models import DecoderConfig
from scannable.training import OptimiserConfig, TextConfig, TextRunConfig, load, train
from scannable.training._checkpoint import read_tensors
from scannable.training._log import Log
from scannable.training._record import to_json
from training.runs import same_state

STEPS = 40


@pytest.fixture
def shards(tmp_path):
    folder, letters = tmp_path / "shards", random.Random(0)
    folder.mkdir()
    for name in ("train-0.txt", "train-1.txt", "valid.txt"):
        (folder / name).write_text("".join(letters.choice("abcd efg\n") for _ in range(1000)))
    return folder


def make(shards, **fields):
    defaults = {
        "model": DecoderConfig(width=16, heads=2, layers=1, dropout=0.1, positions="rotary"),
        "optimiser": OptimiserConfig(rate=1e-3, warmup=2),
        "text": TextConfig(data=str(shards), tokenizer="bytes", length=16),
        "tokens": 64,
        "steps": STEPS,
        "log_every": 3,
        "check_every": 20,
        "check_tokens": 64,
        "save_every": 0.0,
    }
    return TextRunConfig(**{**defaults, **fields})


WORKER = """
import json, resource, sys
import torch
from scannable.training import train
from scannable.training._folder import parse_config

torch.set_num_threads(1)
config, folder, room = json.loads(sys.argv[1])
if room:
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
try:
    train(parse_config(config), folder)
except OSError as error:
    sys.exit(f"refused: {error}")
"""


def start(config, folder, room=None):
    """Train in a process of its own, whose files can have no more bytes than there is ``room``."""
    source = Path(__file__).parents[2] / "src"
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, json.dumps([to_json(config), str(folder), room])],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(source)},
        stderr=subprocess.PIPE,
        text=True,
    )


def seen(folder):
    """The step of the checkpoint, -1 where there is none: it can be read at any moment."""
    path = folder / "checkpoint.safetensors"
    return read_tensors(path)[1]["step"] if path.exists() else -1


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_weights_of_an_undisturbed_one(tmp_path, shards):
    config, folder, moments = make(shards, steps=4 * STEPS), tmp_path / "killed", random.Random(1)
    train(config, tmp_path / "whole")
    steps = [-1]
    for _ in range(3):
        with start(config, folder) as process:
            while seen(folder) == steps[-1] and process.poll() is None:
                time.sleep(0.001)
            # Checkpoints are written after every step, so many of these moments are inside a write.
            time.sleep(0.1 * moments.random())
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, "it was killed before it was over"
        steps.append(seen(folder))
        assert steps[-1] > steps[-2], "what was saved is not lost"
    train(config, folder)
    assert same_state(folder, tmp_path / "whole")
    assert [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == [
        json.loads(line)["step"] for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    ]


def test_a_run_killed_between_its_last_two_files_gets_the_model_of_its_checkpoint(tmp_path, shards):
    config = make(shards)
    train(config, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    train(make(shards, steps=STEPS // 2, optimiser=config.optimiser), tmp_path / "half")
    _, facts = read_tensors(tmp_path / "half" / "model.safetensors")
    assert facts["step"] == STEPS // 2
    shutil.copy(tmp_path / "half" / "model.safetensors", tmp_path / "killed")
    assert not same_state(tmp_path / "killed", tmp_path / "whole")
    train(config, tmp_path / "killed")
    assert same_state(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits")
def test_a_disk_without_room_stops_with_the_path_and_leaves_the_last_checkpoint(tmp_path, shards):
    config, folder = make(shards, time_limit=1e-6), tmp_path / "run"
    train(config, folder)
    config = make(shards, steps=STEPS)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    size = (folder / "checkpoint.safetensors").stat().st_size
    with start(config, folder, room=size // 2) as process:
        message = process.stderr.read()
    assert process.returncode == 1
    assert f"refused: {folder / 'checkpoint.safetensors'} must " in message
    assert "File too large" in message
    assert "; make room" in message
    assert {name: (folder / name).read_bytes() for name in before if name.endswith("safetensors")} == {
        name: content for name, content in before.items() if name.endswith("safetensors")
    }
    assert not list(folder.glob(".*.partial"))
    load(folder)
    train(config, folder)
    train(config, tmp_path / "whole")
    assert same_state(folder, tmp_path / "whole")


def test_metrics_without_room_are_named_and_come_again(tmp_path, shards, monkeypatch):
    write = Log.write

    def full(log, event):
        if event.step == 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(log, event)

    config = make(shards, save_every=60.0)
    with monkeypatch.context() as patch:
        patch.setattr(Log, "write", full)
        with pytest.raises(
            OSError, match=r"metrics\.jsonl must have room on its disk, got No space left.*; make room"
        ):
            train(config, tmp_path / "run")
    train(config, tmp_path / "run")
    train(config, tmp_path / "whole")
    assert same_state(tmp_path / "run", tmp_path / "whole")
    noted = [
        [
            (event["event"], event["step"], event["loss"])
            for event in map(json.loads, log.read_text().splitlines())
        ]
        for log in (tmp_path / "run/metrics.jsonl", tmp_path / "whole/metrics.jsonl")
    ]
    assert noted[0] == noted[1]


def test_a_report_without_room_is_not_the_folders_and_its_step_is_kept(tmp_path, shards):
    def full(event):
        if event.step == 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left on device$"):
        train(make(shards, save_every=60.0), tmp_path / "run", report=full)
    assert seen(tmp_path / "run") == 6


@pytest.mark.parametrize("fault", ["missing", "changed"])
def test_a_run_whose_text_is_not_what_it_was_stops_and_leaves_everything(tmp_path, shards, fault):
    folder = tmp_path / "run"
    train(make(shards, time_limit=1e-6), folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    shard = shards / "train-1.txt"
    text = shard.read_text()
    if fault == "missing":
        shard.unlink()
    else:
        shard.write_text(text[:-1] + "z")
    with pytest.raises(
        ValueError, match=r"^A run must go on with the text it began with, got .*; restore the files"
    ):
        train(make(shards), folder)
    assert before == {path: path.read_bytes() for path in folder.iterdir()}
    shard.write_text(text)
    assert train(make(shards, steps=STEPS), folder).step == STEPS
