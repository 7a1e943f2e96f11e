"""Two processes under torchrun, on the CPU, against one: the laws of sharing a step."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scannable.models import TransformerPSMConfig
from scannable.training import OptimiserConfig, TextConfig, TextRunConfig, load, read_config, train
from scannable.training._checkpoint import read_tensors
from scannable.training._record import to_json
from training.runs import same_state, tiny

pytestmark = pytest.mark.slow

STEPS, CUT = 8, 4
ONCE = [2, 4, 4, 6, 8, 8]
"""The steps of the events of a whole run: progress every 2, a check every 4."""

CLOSE = 1e-5
"""How far weights may be apart after steps in float32 whose sums are taken in another order."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder, letters = tmp_path_factory.mktemp("together"), random.Random(0)
    (folder / "text.txt").write_text("".join(letters.choice("abcd efg\n") for _ in range(4000)))
    return folder


@pytest.fixture(scope="module")
def make(place):
    def config(*, dropout=0.0, inference="concatenated", chunk=4, rows=8, **fields):
        defaults = {
            "model": TransformerPSMConfig(
                width=16, heads=2, chunk=chunk, inference=inference, positions="rotary", dropout=dropout
            ),
            "optimiser": OptimiserConfig(rate=1e-3, warmup=2),
            "text": TextConfig(data=str(place / "text.txt"), tokenizer="bytes", length=16),
            "tokens": 16 * rows,
            "steps": STEPS,
            "log_every": 2,
            "check_every": 4,
            "check_tokens": 64,
        }
        return TextRunConfig(**{**defaults, **fields})

    return config


def together(place, jobs):
    """Train one run after another in two processes; what either said of each."""
    (place / "jobs.json").write_text(
        json.dumps([{**job, "config": to_json(job["config"]), "folder": str(job["folder"])} for job in jobs])
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    here = Path(__file__)
    with subprocess.Popen(
        [*command, str(here.with_name("together.py")), str(place / "jobs.json")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(here.parents[2] / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=180)
        finally:
            # Not killed, so that it ends the processes that it started.
            process.terminate()
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return (process.returncode, errors), *(
        [line for line in lines if line["rank"] == rank] for rank in (0, 1)
    )


@pytest.fixture(scope="module")
def said(place, make):
    """All runs of two processes that the tests look at, made in one go."""
    (place / "file").touch()
    jobs = {
        "replicate": {"config": make()},
        "shard": {"config": make(parallel="shard")},
        "cross": {"config": make(parallel="shard", inference="cross")},
        "no-merge": {"config": make(chunk=16)},
        "dropout": {"config": make(dropout=0.2)},
        "cut": {"config": make(dropout=0.2), "stop": CUT},
        "shard-cut": {"config": make(parallel="shard", dropout=0.2), "stop": CUT},
        "to-one": {"config": make(), "stop": CUT},
        "to-replicate": {"config": make(parallel="shard"), "stop": CUT},
        "words": {"config": tiny()},
        "odd": {"config": make(rows=3)},
        "file/run": {"config": make()},
    }
    again = {
        "cut": {"config": make(dropout=0.2)},
        "shard-cut": {"config": make(parallel="shard", dropout=0.2)},
        "shard-dropout": {"config": make(parallel="shard", dropout=0.2)},
        "to-replicate": {"config": make()},
    }
    every = [*jobs.items(), *again.items()]
    (code, errors), first, second = together(place, [{**job, "folder": place / name} for name, job in every])
    assert code == 0, errors
    names = [*jobs, *(f"{name} again" for name in again)]
    return dict(zip(names, zip(first, second, strict=True), strict=True))


@pytest.fixture(scope="module")
def alone(place, make, said):
    """The same runs in one process."""
    for name, config in {
        "alone": make(),
        "alone-cross": make(inference="cross"),
        "alone-no-merge": make(chunk=16),
        "other-seed": make(seed=1),
    }.items():
        train(config, place / name)
    return place


def distance(one, other):
    """The largest difference between two runs' weights and moments; they have the same names."""
    (left, _), (right, _) = (read_tensors(folder / "checkpoint.safetensors") for folder in (one, other))
    names = {name for name in left if not name.startswith("generator")}
    assert names == {name for name in right if not name.startswith("generator")}
    return max((left[name] - right[name]).abs().max().item() for name in names)


@pytest.mark.parametrize(
    ("name", "same"),
    [("replicate", "alone"), ("shard", "alone"), ("cross", "alone-cross"), ("no-merge", "alone-no-merge")],
)
def test_two_processes_compute_the_steps_of_one(alone, name, same):
    assert distance(alone / name, alone / same) < CLOSE
    one, other = ((alone / folder / "metrics.jsonl").read_text().splitlines() for folder in (name, same))
    for left, right in zip(map(json.loads, one), map(json.loads, other), strict=True):
        assert left["step"] == right["step"]
        assert left["loss"] == pytest.approx(right["loss"], rel=1e-5)


def test_a_difference_between_runs_is_seen(alone):
    assert distance(alone / "alone", alone / "other-seed") > 1e-3


def test_the_files_are_those_of_one_process_and_only_the_first_writes_and_reports(alone, said):
    assert [said["replicate"][rank]["events"] for rank in (0, 1)] == [ONCE, []]
    assert [said["shard"][rank]["events"] for rank in (0, 1)] == [ONCE, []]
    for name in ("replicate", "shard"):
        assert {path.name for path in (alone / name).iterdir()} == {
            path.name for path in (alone / "alone").iterdir()
        }
        assert len((alone / name / "metrics.jsonl").read_text().splitlines()) == len(ONCE)
        model, config = load(alone / name)
        assert config.parallel == name
        tensors, _ = read_tensors(alone / name / "checkpoint.safetensors")
        kept = model.state_dict()
        assert all(torch.equal(kept[key[6:]], x) for key, x in tensors.items() if key.startswith("model."))


def test_every_process_drops_activations_of_its_own_and_its_generator_is_kept(alone):
    for name in ("dropout", "shard-dropout"):
        tensors, _ = read_tensors(alone / name / "checkpoint.safetensors")
        assert not torch.equal(tensors["generator.cpu"], tensors["generator.cpu.1"])


@pytest.mark.parametrize(("cut", "whole"), [("cut", "dropout"), ("shard-cut", "shard-dropout")])
def test_an_interrupted_run_of_two_ends_with_the_bits_of_an_uninterrupted_one(alone, said, cut, whole):
    assert [line["error"] for line in said[cut]] == ["KeyboardInterrupt"] * 2
    assert [line["step"] for line in said[f"{cut} again"]] == [STEPS] * 2
    assert said[f"{cut} again"][0]["events"] == [step for step in ONCE if step > CUT]
    assert same_state(alone / cut, alone / whole)
    assert not same_state(alone / cut, alone / "replicate")


def test_another_number_of_processes_goes_on(alone, make, said):
    assert said["to-one"][0]["error"] == "KeyboardInterrupt"
    assert read_tensors(alone / "to-one" / "checkpoint.safetensors")[1]["step"] == CUT
    train(make(), alone / "to-one")
    assert distance(alone / "to-one", alone / "alone") < CLOSE


def test_a_sharded_run_goes_on_replicated(alone, said):
    assert said["to-replicate again"][0]["step"] == STEPS
    assert read_config(alone / "to-replicate").parallel == "replicate"
    assert distance(alone / "to-replicate", alone / "alone") < CLOSE


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("words", "A run on words must have one process, got 2; start it without torchrun."),
        ("odd", "got tokens // text.length = 3 windows and 2 processes; set tokens to a multiple of 32"),
        ("file/run", "must be a folder that can be made and written, got Not a directory; choose another"),
    ],
)
def test_what_two_processes_cannot_do_is_refused_by_both_and_leaves_no_folder(place, said, name, words):
    assert [words in line["message"] for line in said[name]] == [True, True]
    # What only the first could know is said by the first alone.
    assert [line["agreed"] for line in said[name]] == [False, name == "file/run"]
    assert not (place / name).exists()


def test_a_process_that_breaks_stops_the_others_and_leaves_the_last_checkpoint(place, make):
    folder = place / "broken"
    job = {"config": make(parallel="shard", save_every=0.0), "folder": folder, "breaks": 5}
    (code, errors), first, _ = together(place, [job])
    assert code != 0
    assert "broken on purpose" in errors
    assert not first, "the first process does not go on by itself"
    assert read_tensors(folder / "checkpoint.safetensors")[1]["step"] == 5
    train(make(), folder)
    assert distance(folder, place / "replicate") < CLOSE


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_compute_the_steps_of_one_and_go_on_after_an_interruption(place, make):
    configs = {
        f"{parallel}-{compiled}": make(parallel=parallel, compile=compiled, device="cuda", dropout=0.0)
        for parallel in ("replicate", "shard")
        for compiled in (False, True)
    }
    jobs = [{"config": config, "folder": place / f"gpu-{name}"} for name, config in configs.items()]
    cut = [{**job, "folder": f"{job['folder']}-cut"} for job in jobs[::2]]
    # Processes with a GPU do not part after an interruption, so each is the last that they do.
    for calls, steps in (
        (jobs, [STEPS] * 4),
        *(([{**job, "stop": CUT}], []) for job in cut),
        (cut, [STEPS] * 2),
    ):
        (code, errors), first, _ = together(place, calls)
        assert code == 0, errors
        assert [line["step"] for line in first if "step" in line] == steps, first
    train(make(device="cuda"), place / "gpu-alone")
    for job in [*jobs, *cut]:
        assert distance(Path(job["folder"]), place / "gpu-alone") < 1e-4
