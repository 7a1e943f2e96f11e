"""Runs on text: every window once an epoch, in an order that seed and step decide, and a run that resumes."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from scannable.data import read
from scannable.models import AffineLanguageModelConfig, DecoderConfig, TransformerPSMConfig
from scannable.training import OptimiserConfig, Progress, TextCheck, TextConfig, TextRunConfig, load, train
from scannable.training._checkpoint import read_tensors, write_tensors
from scannable.training._distributed import Peers
from scannable.training._folder import fresh_model
from scannable.training._text import TextCourse
from training.runs import same_state, tiny

VERSE = b"The quick brown fox jumps over the lazy dog. " * 30
LENGTH = 8


@pytest.fixture
def counted(tmp_path):
    """A text of ids that say where they are: 0, 1, 2, ... up to 211, the last eleven of them held out."""
    path = tmp_path / "counted.u16"
    path.write_bytes(np.arange(212, dtype="<u2").tobytes())
    return path


def config(path, **fields):
    defaults = {
        "text": TextConfig(data=str(path), tokenizer="bytes", length=LENGTH),
        "model": TransformerPSMConfig(width=16, heads=2, chunk=4, inference_layers=1, dropout=0.1),
        "optimiser": OptimiserConfig(rate=1e-2, warmup=5),
        "tokens": 3 * LENGTH + 1,
        "steps": 30,
        "log_every": 4,
        "check_every": 10,
        "check_tokens": 40,
    }
    return TextRunConfig(**{**defaults, **fields})


def batches(settings, steps):
    course = TextCourse(settings, Peers())
    return [course.batch(step) for step in steps]


def test_an_epoch_reads_every_window_once_and_none_crosses_the_end(counted):
    course = TextCourse(config(counted), Peers())
    assert len(course.ids) == 201
    assert course.windows == 24
    assert course.rows == 3
    begins = []
    for epoch in range(4):
        read = torch.cat([course.batch(step).tokens for step in range(8 * epoch, 8 * epoch + 8)])
        first = read.min()
        assert 0 <= first < LENGTH
        assert torch.equal(read.flatten().sort().values, first + torch.arange(24 * LENGTH))
        assert not torch.equal(read[:, 0], read[:, 0].sort().values)
        begins.append((int(first), tuple(read[:, 0].tolist())))
    assert len(set(begins)) == 4
    assert len({first for first, _ in begins}) > 1


@pytest.mark.parametrize("tokens", [16, 17, 18, 23, 24, 25])
def test_the_shortest_texts_have_their_windows(tokens, tmp_path):
    """No window and no target lies beyond the end, wherever the epoch begins."""
    path = tmp_path / "shortest"
    path.mkdir()
    for part, count in (("train", tokens), ("valid", 9)):
        (path / f"{part}.u16").write_bytes(np.arange(count, dtype="<u2").tobytes())
    course = TextCourse(config(path, tokens=LENGTH), Peers())
    assert course.windows == (tokens - LENGTH) // LENGTH
    for step in range(20):
        batch = course.batch(step)
        assert torch.equal(batch.targets, batch.tokens + 1)
        assert int(batch.targets.max()) < tokens


def test_targets_are_the_next_tokens_and_all_are_asked(counted):
    for batch in batches(config(counted), range(20)):
        assert batch.tokens.shape == batch.targets.shape == batch.mask.shape == (3, LENGTH)
        assert torch.equal(batch.targets, batch.tokens + 1)
        assert torch.equal(batch.tokens.diff(dim=1), torch.ones(3, LENGTH - 1, dtype=torch.long))
        assert batch.mask.all()


def test_a_batch_depends_on_its_seed_and_step_alone(counted):
    """Not on the steps before it, so a resumed run draws what it would have drawn."""
    in_order = batches(config(counted), range(20))
    mixed = [19, 3, 8, 7, 0, 12, 11]
    for step, batch in zip(mixed, batches(config(counted), mixed), strict=True):
        assert torch.equal(batch.tokens, in_order[step].tokens)
    other = batches(config(counted, seed=1), range(20))
    assert not any(torch.equal(x.tokens, y.tokens) for x, y in zip(in_order, other, strict=True))
    torch.manual_seed(1)
    torch.rand(3)
    assert torch.equal(batches(config(counted), [5])[0].tokens, in_order[5].tokens)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_divide_every_batch(count, counted):
    settings = config(counted, tokens=4 * LENGTH)
    courses = [TextCourse(settings, Peers(rank=rank, count=count)) for rank in range(count)]
    for step, batch in enumerate(batches(settings, range(12))):
        parts = [course.batch(step).tokens for course in courses]
        assert {len(part) for part in parts} == {4 // count}
        assert torch.equal(torch.cat(parts), batch.tokens)


def test_windows_that_processes_cannot_divide_are_refused(counted):
    with pytest.raises(
        ValueError, match=r"must divide by the number of processes, got .*3 windows and 2 proc"
    ):
        TextCourse(config(counted), Peers(rank=0, count=2))


def test_models_of_one_seed_see_the_same_tokens(counted):
    models = [DecoderConfig(width=8, heads=2, window=4), AffineLanguageModelConfig(row="gla", width=8)]
    expected = batches(config(counted), range(12))
    for model in models:
        found = batches(config(counted, model=model, steps=300, check_every=7), range(12))
        assert all(torch.equal(x.tokens, y.tokens) for x, y in zip(found, expected, strict=True))


@pytest.mark.parametrize(("steps", "often"), [(5, "0.62"), (16, "2"), (20_000, "2,500")])
def test_how_often_the_text_is_read_is_said(counted, steps, often):
    about = TextCourse(config(counted, steps=steps), Peers()).about
    assert about.startswith(f"All steps read the 201 training tokens {often} times. Held out: ")


def test_the_loss_is_the_mean_cross_entropy(counted):
    course = TextCourse(config(counted), Peers())
    for kind in (
        config(counted).model,
        DecoderConfig(width=16, heads=2),
        AffineLanguageModelConfig(width=16),
    ):
        model = fresh_model(config(counted, model=kind)).eval()
        batch = course.batch(0)
        logits = model(batch.tokens).flatten(0, 1)
        expected = torch.nn.functional.cross_entropy(logits, batch.targets.flatten())
        assert torch.allclose(course.loss(model, batch), expected, rtol=1e-5)


def test_a_text_of_less_than_two_windows_is_refused(tmp_path):
    path = tmp_path / "short"
    path.mkdir()
    for part, count in (("train", 15), ("valid", 9)):
        (path / f"{part}.u16").write_bytes(np.arange(count, dtype="<u2").tobytes())
    with pytest.raises(
        ValueError, match=r"at least 2 \* length = 16 tokens, got 15; give a longer text, or lower"
    ):
        TextCourse(config(path), Peers())


@pytest.fixture
def verse(tmp_path):
    path = tmp_path / "verse.txt"
    path.write_bytes(VERSE)
    return path


def test_a_run_learns_its_text_and_says_so(verse, tmp_path):
    events = []
    result = train(config(verse, check_every=15), tmp_path / "run", report=events.append)
    assert (result.stopped, result.solved, result.step, result.length) == ("steps", False, 30, LENGTH)
    losses = [event.loss for event in events if isinstance(event, Progress)]
    assert losses[-1] < 0.7 * losses[0]
    checks = [event for event in events if isinstance(event, TextCheck)]
    assert [event.step for event in checks] == [15, 30]
    assert checks[1].loss < checks[0].loss
    for check in checks:
        assert check.tokens == 40
        assert check.perplexity == pytest.approx(math.exp(check.loss))
        assert check.bits_per_byte == pytest.approx(check.loss / math.log(2))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == [type(event).__name__.lower() for event in events]
    model, settings = load(tmp_path / "run")
    assert settings == config(verse, check_every=15)
    assert model(torch.zeros(1, 3, dtype=torch.long)).shape == (1, 3, 256)


@pytest.mark.parametrize("step", [4, 10, 12])
def test_a_resumed_run_equals_the_uninterrupted_one(verse, tmp_path, step):
    def stop(event):
        if event.step >= step:
            raise KeyboardInterrupt

    train(config(verse), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config(verse), tmp_path / "cut", report=stop)
    assert train(config(verse), tmp_path / "cut").step == 30
    assert same_state(tmp_path / "whole", tmp_path / "cut")


def test_a_run_does_not_go_on_with_another_text(verse, tmp_path):
    settings = config(verse, steps=5)
    train(settings, tmp_path / "run")
    files = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    verse.write_bytes(VERSE.replace(b"fox", b"cat"))
    with pytest.raises(
        ValueError, match="must go on with the text it began with, got a training part of fing"
    ):
        train(settings, tmp_path / "run")
    other = replace(settings, text=replace(settings.text, tokenizer="gpt2"))
    with pytest.raises(ValueError, match=r"must hold a run of the same config, .*text\.tokenizer: "):
        train(other, tmp_path / "run")
    assert files == {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}


def test_a_text_may_lie_elsewhere_when_a_run_goes_on(verse, tmp_path):
    settings = config(verse, log_every=1)

    def stop(event):
        if event.step == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "run", report=stop)
    moved = verse.rename(tmp_path / "moved.txt")
    with pytest.raises(FileNotFoundError, match="must be a file"):
        train(settings, tmp_path / "run")
    elsewhere = replace(settings, text=replace(settings.text, data=str(moved)))
    train(elsewhere, tmp_path / "run")
    assert load(tmp_path / "run")[1] == elsewhere
    train(elsewhere, tmp_path / "straight")
    assert same_state(tmp_path / "run", tmp_path / "straight")


def test_a_perplexity_beyond_all_floats_is_none_and_a_gradient_beyond_them_stops_the_run(verse, tmp_path):
    loud = DecoderConfig(width=16, heads=2, layers=1, logit_scale=1e4)
    events = []
    settings = replace(config(verse), model=loud, steps=2, check_every=1, optimiser=OptimiserConfig(warmup=1))
    train(replace(settings, tensorboard=True), tmp_path / "loud", report=events.append)
    checks = [event for event in events if isinstance(event, TextCheck)]
    assert all(709 < event.loss < math.inf and event.perplexity is None for event in checks)
    louder = replace(settings, model=replace(loud, logit_scale=1e25), log_every=1)
    with pytest.raises(FloatingPointError, match="must stay finite, got gradient_norm=inf by step 1; lower"):
        train(louder, tmp_path / "louder")


def test_a_run_whose_check_comes_before_its_log_says_how_to_keep_it_finite(verse, tmp_path):
    optimiser = OptimiserConfig(rate=1e30, warmup=1)
    settings = replace(config(verse), steps=8, check_every=1, log_every=8, optimiser=optimiser)
    with pytest.raises(
        FloatingPointError, match=r"got a loss in a check that is not by step \d; lower optim"
    ):
        train(settings, tmp_path / "run")


def test_a_folder_of_words_is_not_one_of_text(verse, tmp_path):
    train(tiny(steps=5), tmp_path / "run")
    with pytest.raises(
        ValueError, match=r"must hold a run of the same config, got .*kind: 'words', now 'text'"
    ):
        train(config(verse), tmp_path / "run")


def test_a_step_in_parts_is_the_same_step(counted, tmp_path):
    """Three sequences at once, one by one, or two and then one; without dropout, which draws otherwise."""
    # With rotary positions no gradient is zero, which AdamW would make as large as the others.
    model = TransformerPSMConfig(width=16, heads=2, chunk=4, inference_layers=1, positions="rotary")
    losses, weights = [], []
    for parts in (1, 2, 3):
        events = []
        settings = config(
            counted, model=model, steps=3, log_every=3, parts=parts, optimiser=OptimiserConfig(warmup=1)
        )
        train(settings, tmp_path / f"{parts}", report=events.append)
        losses.append([event.loss for event in events])
        weights.append(torch.cat([x.flatten() for x in load(tmp_path / f"{parts}")[0].parameters()]))
    for loss, weight in zip(losses[1:], weights[1:], strict=True):
        assert loss == pytest.approx(losses[0], rel=1e-5)
        assert torch.allclose(weight, weights[0], atol=1e-4)
        assert not torch.equal(weight, weights[0])


def in_parts(tmp_path):
    """A folder with a held-out part of its own."""
    (tmp_path / "parts").mkdir()
    for part in ("train", "valid"):
        (tmp_path / "parts" / f"{part}.txt").write_bytes(VERSE)
    return tmp_path / "parts"


def test_a_run_does_not_go_on_with_another_held_out_part(tmp_path):
    parts = in_parts(tmp_path)
    train(config(parts, time_limit=1e-6), tmp_path / "run")
    (parts / "valid.txt").write_bytes(VERSE + b"!")
    with pytest.raises(
        ValueError, match=r"began with, got a held-out part of fingerprint \w+ after \w+; restore"
    ):
        train(config(parts), tmp_path / "run")


def test_a_run_of_before_held_out_parts_had_fingerprints_goes_on(tmp_path):
    parts = in_parts(tmp_path)
    train(config(parts, time_limit=1e-6), tmp_path / "run")
    for name in ("checkpoint", "model"):
        path = tmp_path / "run" / f"{name}.safetensors"
        tensors, facts = read_tensors(path)
        assert facts["valid"] == read(parts, "bytes").valid.fingerprint
        assert facts["text"] == read(parts, "bytes").train.fingerprint
        del facts["valid"]
        write_tensors(path, tensors, facts)
    assert train(config(parts), tmp_path / "run").step == 30


def test_what_is_read_and_held_out_is_said_once_and_before_the_first_step(verse, tmp_path):
    said = []
    train(config(verse), tmp_path / "run", report=said.append, about=said.append)
    assert said[0] == (
        "All steps read the 1,282 training tokens 0.57 times. "
        "Held out: the last 68 of the 1,350 tokens of the only article (68 tokens); checks score the first 40 tokens "
        "of it."
    )
    assert not any(isinstance(event, str) for event in said[1:])
