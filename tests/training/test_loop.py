import copy
import itertools
import json
import os
import random
import shutil
import signal
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scannable.models import AffineLanguageModelConfig, DecoderConfig, TransformerPSMConfig, build
from scannable.tasks import Batch, WordProblemConfig
from scannable.training import Check, CurriculumConfig, Progress, load, read_config, save, train
from scannable.training import _files as files_module
from scannable.training import _run as run_module
from scannable.training import _stretch as stretch_module
from scannable.training._checkpoint import read_tensors, weights, write_tensors
from scannable.training._distributed import ALONE
from scannable.training._run import Run
from scannable.training._share import Objective, share
from scannable.training._text import text_loss
from scannable.training._words import WordCourse
from training.runs import same_state, tiny

CONFIG = tiny()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    events = []
    result = train(CONFIG, folder, report=events.append)
    return folder, result, events


def metrics(folder):
    """The lines of a run's metrics without their times."""
    timing = ("seconds", "tokens_per_second")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in timing} for line in lines]


def stop_at(step, error=KeyboardInterrupt):
    def report(event):
        if event.step >= step:
            raise error

    return report


def test_a_run_writes_one_folder_and_says_how_it_ended(uninterrupted):
    folder, result, events = uninterrupted
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.safetensors",
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
    ]
    assert (result.folder, result.stopped, result.step) == (folder, "steps", 30)
    assert [event.step for event in events if isinstance(event, Check)] == [5, 10, 15, 20, 25, 30]
    assert [event.step for event in events if isinstance(event, Progress)] == [4, 8, 12, 16, 20, 24, 28, 30]
    assert [line["event"] for line in metrics(folder)] == [type(event).__name__.lower() for event in events]
    assert result.length > 1, "the curriculum moves within this run, so that resuming is put to the test"


def test_the_model_of_a_run_is_loaded_with_its_last_weights(uninterrupted):
    folder, _, _ = uninterrupted
    model, config = load(folder)
    assert config == CONFIG
    tensors, _ = read_tensors(folder / "checkpoint.safetensors")
    assert all(torch.equal(x, tensors[f"model.{name}"]) for name, x in weights(model).items())


def test_the_same_config_gives_the_same_bits(uninterrupted, tmp_path):
    torch.manual_seed(1234)
    train(CONFIG, tmp_path / "again")
    assert same_state(uninterrupted[0], tmp_path / "again")
    assert metrics(uninterrupted[0]) == metrics(tmp_path / "again")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("step", [4, 5, 16, 20])
def test_a_resumed_run_equals_the_uninterrupted_one(uninterrupted, tmp_path, step, error):
    with pytest.raises(error):
        train(CONFIG, tmp_path / "run", report=stop_at(step, error))
    assert read_tensors(tmp_path / "run" / "checkpoint.safetensors")[1]["step"] == step
    load(tmp_path / "run")
    result = train(CONFIG, tmp_path / "run")
    assert result.step == 30
    assert same_state(uninterrupted[0], tmp_path / "run")
    assert metrics(uninterrupted[0])[-5:] == metrics(tmp_path / "run")[-5:]


def test_a_run_stopped_again_and_again_equals_the_uninterrupted_one(uninterrupted, tmp_path):
    for step in (4, 5, 8, 10, 12, 25, 28):
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, tmp_path, report=stop_at(step))
    train(CONFIG, tmp_path)
    assert same_state(uninterrupted[0], tmp_path)
    assert [line["step"] for line in metrics(tmp_path)] == [
        line["step"] for line in metrics(uninterrupted[0])
    ]


@pytest.mark.parametrize(("owner", "method"), [(Run, "_update"), (WordCourse, "check")])
def test_a_step_cut_in_two_is_made_again_from_the_last_checkpoint(
    uninterrupted, tmp_path, monkeypatch, owner, method
):
    config, calls, whole = tiny(save_every=0.0), [], getattr(owner, method)

    def half(self, *arguments):
        model, step = arguments or (self.model, self.step)
        calls.append(step)
        if step == 10 and calls.count(10) == 1:
            for parameter in model.parameters():
                parameter.data.add_(1)
            torch.rand(3)
            raise KeyboardInterrupt
        return whole(self, *arguments)

    monkeypatch.setattr(owner, method, half)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path)
    assert read_tensors(tmp_path / "checkpoint.safetensors")[1]["step"] == (10 if method == "_update" else 9)
    train(config, tmp_path)
    assert calls.count(10) == 2
    assert same_state(uninterrupted[0], tmp_path)


def test_control_c_finishes_the_step_and_leaves_a_checkpoint(uninterrupted, tmp_path, monkeypatch):
    update = Run._update

    def press(run):
        if run.step == 12:
            os.kill(os.getpid(), signal.SIGINT)
        update(run)

    monkeypatch.setattr(Run, "_update", press)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, tmp_path)
    monkeypatch.undo()
    assert read_tensors(tmp_path / "checkpoint.safetensors")[1]["step"] == 13
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    train(CONFIG, tmp_path)
    assert same_state(uninterrupted[0], tmp_path)


def test_a_second_control_c_does_not_wait(tmp_path, monkeypatch):
    def press(run):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second one is not deferred")

    monkeypatch.setattr(Run, "_update", press)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, tmp_path)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_somebody_elses_handler_and_other_threads_are_left_alone(tmp_path):
    def theirs(number, frame):
        raise AssertionError

    signal.signal(signal.SIGINT, theirs)
    try:
        train(tiny(steps=5), tmp_path / "a")
        assert signal.getsignal(signal.SIGINT) is theirs
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=train, args=(tiny(steps=5), tmp_path / "b"))
    thread.start()
    thread.join()
    assert same_state(tmp_path / "a", tmp_path / "b")


def test_the_callers_generators_are_left_alone(tmp_path, monkeypatch):
    before = torch.get_rng_state()
    monkeypatch.setattr(random, "seed", None)
    train(tiny(steps=5), tmp_path)
    assert torch.equal(before, torch.get_rng_state())


def test_a_run_that_is_over_is_not_touched(uninterrupted):
    folder, result, _ = uninterrupted
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    events = []
    again = train(CONFIG, folder, report=events.append)
    assert (again.stopped, again.step, again.solved) == ("steps", 30, result.solved)
    assert not events
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_a_torn_line_and_lines_that_come_again_are_taken_out_of_the_metrics(uninterrupted, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, tmp_path, report=stop_at(16))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"event": "progress", "step": 20}\n{"event": "pro')
    train(CONFIG, tmp_path)
    assert [line["step"] for line in metrics(tmp_path)] == [
        line["step"] for line in metrics(uninterrupted[0])
    ]


@pytest.mark.parametrize(
    "fault", ["truncated", "flipped", "foreign", "of another run", "older", "incomplete"]
)
def test_a_broken_checkpoint_stops_the_run_and_nothing_is_overwritten(tmp_path, fault):
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, tmp_path, report=stop_at(8))
    path = tmp_path / "checkpoint.safetensors"
    whole = path.read_bytes()
    tensors, facts = read_tensors(path)
    match fault:
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "flipped":
            path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:])
        case "foreign":
            path.write_bytes(b"PK\3\4" + whole)
        case "of another run":
            write_tensors(path, tensors, {**facts, "config": {**facts["config"], "seed": 7}})
        case "older":
            # Before there were several kinds of run.
            old = {name: value for name, value in facts["config"].items() if name != "kind"}
            tensors = {name.replace("course.", "generator."): x for name, x in tensors.items()}
            write_tensors(path, tensors, {**facts, "config": old})
        case _:
            tensors.pop("course.batches")
            write_tensors(path, tensors, facts)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors must .*, got .*; \w+"):
        train(CONFIG, tmp_path)
    assert before == {file: file.read_bytes() for file in tmp_path.iterdir()}


def test_a_run_stops_when_the_longest_length_is_solved(tmp_path):
    curriculum = CurriculumConfig(stages=(1,), every=2, words=4, threshold=0.99, stop=True)
    config = tiny(curriculum=curriculum, task=WordProblemConfig(group="parity", longest=2))
    result = train(config, tmp_path)
    assert (result.stopped, result.solved, result.length) == ("solved", True, 2)
    assert result.step < 30
    assert train(config, tmp_path).step == result.step


def test_a_stage_that_is_never_solved_holds_the_run_until_its_last_step(tmp_path):
    curriculum = CurriculumConfig(stages=(1,), every=2, words=64, threshold=0.0)
    task = WordProblemConfig(group="S5", longest=2)
    result = train(tiny(curriculum=curriculum, task=task, steps=6), tmp_path)
    assert (result.stopped, result.solved, result.length, result.step) == ("steps", False, 1, 6)


def test_a_time_limit_counts_the_time_before_a_resume(tmp_path):
    config = tiny(time_limit=1e-6)
    result = train(config, tmp_path)
    assert (result.stopped, result.step) == ("time", 0)
    assert train(config, tmp_path).stopped == "time"


@pytest.mark.parametrize("limit", [None, 20.0])
def test_a_run_that_its_time_stopped_goes_on_with_more_time(uninterrupted, tmp_path, monkeypatch, limit):
    with monkeypatch.context() as patch:
        patch.setattr(Run, "seconds", property(lambda run: float(run.step)))
        first = tiny(time_limit=12.0)
        assert (train(first, tmp_path).stopped, train(first, tmp_path).step) == ("time", 12)
        config = tiny(time_limit=limit, save_every=0.0, tensorboard=limit is None)
        if limit is not None:
            result = train(config, tmp_path)
            assert (result.stopped, result.step) == ("time", 20)
            assert read_config(tmp_path) == config
            config = tiny()
        assert train(config, tmp_path).stopped == "steps"
    assert read_config(tmp_path) == config
    assert same_state(uninterrupted[0], tmp_path)


def test_a_run_that_is_over_ignores_what_decides_no_weight(uninterrupted):
    folder, _, _ = uninterrupted
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert train(tiny(time_limit=1.0, log_every=1, tensorboard=True), folder).stopped == "steps"
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("content", [b"", b"PK", None])
def test_a_run_that_is_over_gets_its_model_back_from_the_checkpoint(uninterrupted, tmp_path, content):
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted[0], folder)
    path = folder / "model.safetensors"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    train(CONFIG, folder)
    assert same_state(uninterrupted[0], folder)
    load(folder)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX file modes")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_files_of_a_run_have_the_modes_of_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        train(tiny(steps=5), tmp_path / "run")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "run").iterdir()} == {0o666 & ~mask}


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"steps": 12.0}, "config.steps must be of type int, got 12.0"),
        ({"seed": 1.5}, "config.seed must be of type int, got 1.5"),
        ({"tokens": np.int64(64)}, r"config.tokens must be of type int, got (np.int64\(64\)|64)"),
        ({"time_limit": Path("x")}, "config.time_limit must be of type"),
    ],
)
def test_a_config_that_could_not_be_read_back_is_refused_and_nothing_is_written(tmp_path, field, words):
    model, folder = build(CONFIG.model, CONFIG.vocabulary), tmp_path / "run"
    wrong = copy.copy(CONFIG)
    for name, value in field.items():
        object.__setattr__(wrong, name, value)
    for write in (lambda: train(wrong, folder), lambda: save(model, wrong, folder)):
        with pytest.raises(ValueError, match=words):
            write()
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        OSError, match=r"file.run must be a folder that can be made .* got .*; choose another"
    ):
        train(tiny(), tmp_path / "file" / "run")


def test_checkpoints_are_written_on_the_way(tmp_path):
    steps = []

    def look(event):
        steps.append(read_tensors(tmp_path / "checkpoint.safetensors")[1]["step"])

    train(tiny(save_every=0.0, steps=8), tmp_path, report=look)
    assert steps == [3, 4, 7, 7]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    config = tiny(curriculum=CurriculumConfig(every=100, stages=()), log_every=4)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, report=stop_at(8))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    restore = Run.restore

    def poisoned(run):
        restore(run)
        next(run.model.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(Run, "restore", poisoned)
    with pytest.raises(
        FloatingPointError, match=r"must stay finite, got loss=nan by step 12; lower optimiser\.rate"
    ):
        train(config, tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    run = Run(CONFIG, tmp_path)
    next(run.model.parameters()).data.fill_(float("inf"))
    with pytest.raises(
        FloatingPointError, match=r"must stay finite, got values in .* by step 0; lower .*warmup\.$"
    ):
        run.save()
    run.saved_step = 0
    with pytest.raises(FloatingPointError, match=r"in a new folder\. .* keeps its last checkpoint\.$"):
        run.save()
    assert not list(tmp_path.iterdir())


def test_tensorboard_gets_the_same_events(tmp_path):
    train(tiny(tensorboard=True, steps=8), tmp_path)
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert b"check/final_error" in file.read_bytes()


def test_a_psm_learns_and_resumes_too(tmp_path):
    model = TransformerPSMConfig(width=16, heads=2, chunk=1, inference_layers=1, shared=True, dropout=0.1)
    config = tiny(model=model, steps=12, draw="device")
    train(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", report=stop_at(5))
    train(config, tmp_path / "cut")
    assert same_state(tmp_path / "whole", tmp_path / "cut")


def test_a_device_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"one of this machine, which has \d+ CUDA devices, got 'cuda:99'; use cpu"
    ):
        train(tiny(device="cuda:99"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bfloat16_runs_under_autocast_and_keeps_float32_weights(tmp_path):
    train(tiny(precision="bfloat16", steps=6), tmp_path)
    tensors, _ = read_tensors(tmp_path / "checkpoint.safetensors")
    kept = [x.dtype for name, x in tensors.items() if name.startswith(("model.", "optimiser."))]
    assert set(kept) == {torch.float32}


@pytest.mark.slow
@pytest.mark.compile
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when it imports its compiler
def test_a_compiled_model_trains_and_its_weights_keep_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    task = WordProblemConfig(group="parity", shortest=3, longest=3)
    train(tiny(compile=True, steps=6, task=task, curriculum=CurriculumConfig(stages=())), tmp_path)
    load(tmp_path)


@pytest.mark.slow
@pytest.mark.compile
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch hides it where it compiles
def test_layers_that_are_alike_are_compiled_once_and_checks_not_at_all(tmp_path, monkeypatch):
    def compiled(run, options=None):
        return plain(run, backend="aot_eager")

    plain, count = torch.compile, torch._dynamo.utils.counters["stats"]
    monkeypatch.setattr(torch, "compile", compiled)
    task = WordProblemConfig(group="parity", shortest=3, longest=3)
    fixed = {"task": task, "curriculum": CurriculumConfig(stages=(), every=3), "steps": 6}
    model = AffineLanguageModelConfig(
        row="mamba2", width=16, layers=3, options={"heads": 2, "state": 4}, mlp=False
    )
    torch.compiler.reset()
    before = count["unique_graphs"]
    train(tiny(compile=True, model=model, **fixed), tmp_path / "compiled")
    assert count["unique_graphs"] == before + 1
    train(tiny(model=model, **fixed), tmp_path / "plain")
    ours, theirs = (read_tensors(tmp_path / name / "model.safetensors")[0] for name in ("compiled", "plain"))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in theirs)


@pytest.mark.slow
@pytest.mark.compile
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("by_layer", [False, True])
def test_the_ninth_kind_of_model_is_compiled_too(monkeypatch, by_layer):
    """Left to itself torch compiles code eight times and then runs it as it is."""

    def compiled(run, options=None):
        return plain(run, backend=backend)

    def backend(graph, inputs):
        counts[-1] += 1
        return graph

    plain, counts = torch.compile, []
    monkeypatch.setattr(torch, "compile", compiled)
    torch.compiler.reset()
    tokens = torch.zeros(2, 3, dtype=torch.long)
    batch = Batch(tokens, tokens, torch.ones_like(tokens, dtype=torch.bool))
    for width in range(2, 24, 2):
        model = DecoderConfig(width=width, heads=1, layers=2)
        if by_layer:
            model = AffineLanguageModelConfig(
                row="gla", width=width, layers=2, mlp=False, options={"heads": 1}
            )
        objective = Objective(build(model, 5), text_loss)
        counts.append(0)
        share(objective, "replicate", ALONE, torch.device("cpu"), compiled=True)(batch)
    assert min(counts) > 0
    assert len(set(counts)) == 1


@pytest.mark.gpu
def test_a_run_resumes_on_a_gpu(tmp_path):
    for draw in ("cpu", "device"):
        config = tiny(device="cuda", draw=draw, precision="bfloat16")
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / draw, report=stop_at(8))
        assert train(config, tmp_path / draw).step == 30
        load(tmp_path / draw, device="cuda")


@pytest.mark.parametrize("slow", ["checks", "saves"])
def test_the_speed_is_that_of_the_steps_without_checks_and_saves(tmp_path, monkeypatch, slow):
    owner, name = {"checks": (WordCourse, "check"), "saves": (run_module, "write_tensors")}[slow]
    whole, clock = getattr(owner, name), itertools.count()

    def slept(*arguments):
        for _ in range(1000):
            next(clock)
        return whole(*arguments)

    monkeypatch.setattr(owner, name, slept)
    # A clock that goes on by a second whenever it is read, and by 1,000 in a pause.
    monkeypatch.setattr(stretch_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    config, events = tiny(steps=8, log_every=2, save_every=0.0 if slow == "saves" else 60.0), []
    train(config, tmp_path, report=events.append)
    spent = [event.tokens_per_second for event in events if isinstance(event, Progress)]
    # Two steps of at most 64 tokens: with one pause among them, at most 0.128 tokens a second.
    assert min(spent) > 1


def test_a_refusal_in_words_is_not_put_into_other_words(tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(f"{path} must have room on its disk.")

    monkeypatch.setattr(files_module, "write_text", full)
    with pytest.raises(OSError, match=r"^\S+config\.json must have room on its disk\.$"):
        train(tiny(), tmp_path / "run")
