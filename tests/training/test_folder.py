import json

import pytest
import torch

from scannable.models import DecoderConfig
from scannable.tasks import WordProblem, WordProblemConfig
from scannable.training import _lock, load, pretrained, read_config, save, train
from scannable.training._checkpoint import read_tensors, weights, write_tensors
from scannable.training._folder import facts_of, fresh_model
from training.runs import tiny


@pytest.fixture
def run(tmp_path):
    config = tiny()
    save(fresh_model(config), config, tmp_path / "run")
    return tmp_path / "run"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_saved_model_is_loaded_ready_to_evaluate(run):
    model, config = load(run)
    assert config == tiny() == read_config(str(run))
    assert not model.training
    tokens = torch.tensor([[0, 1, 1]])
    assert torch.equal(model(tokens), fresh_model(config).eval()(tokens))


def test_loading_leaves_global_generators_alone(run):
    before = torch.get_rng_state()
    load(run)
    assert torch.equal(before, torch.get_rng_state())


def test_a_model_in_half_precision_is_smaller_and_loaded_as_float32(run, tmp_path):
    config = tiny()
    model = fresh_model(config)
    save(model, config, tmp_path / "half", dtype=torch.float16)
    small, large = (folder / "model.safetensors" for folder in (tmp_path / "half", run))
    assert small.stat().st_size < 0.8 * large.stat().st_size
    loaded, _ = load(tmp_path / "half")
    for name, x in weights(loaded).items():
        assert x.dtype == torch.float32
        assert torch.equal(x, weights(model)[name].half().float())


def test_a_folder_without_a_run_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(
            FileNotFoundError, match=r"must hold config\.json, got no such file; give the folder"
        ):
            load(folder)


def test_a_run_without_weights_is_refused(run):
    (run / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"must hold model\.safetensors"):
        load(run)


def test_what_a_model_file_says_beside_its_weights_is_read_without_them(run):
    path = run / "model.safetensors"
    facts = facts_of(run)
    assert facts == read_tensors(path)[1]
    assert facts["config"]["kind"] == "words"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert facts_of(run) == facts
    with pytest.raises(ValueError, match="bytes do not fit its checksum"):
        load(run)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], r"config\.json must be the config of a run"),
        ({"a": 1}, r"config\.json must be the config of a run"),
        ({"format": 9, "config": {}}, r"config\.json must have format 1, got 9; read it with the version"),
        ({"format": 1, "config": {"steps": "x"}}, r"config\.json: config\.steps must be of type int"),
        (
            {"format": 1, "config": None},
            r"config\.json: config\.kind must be one of \['text', 'words'\], got None",
        ),
        (
            {"format": 1, "config": {"kind": "images"}},
            r"config\.json: config\.kind must be one of .*got 'images'",
        ),
    ],
)
def test_a_config_that_is_none_is_refused(run, content, words):
    (run / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=words):
        load(run)


def test_weights_of_another_model_are_refused(run, tmp_path):
    for config in (
        tiny(model=DecoderConfig(width=16, heads=4, layers=1, dropout=0.1, limit=16)),
        tiny(task=WordProblemConfig(group="C2", longest=3)),
    ):
        other = tmp_path / f"other {config.task.group} {config.model.heads}"
        save(fresh_model(config), config, other)
        (run / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
        with pytest.raises(
            ValueError, match=r"model\.safetensors must be of the run .*differs in .*; put the two"
        ):
            load(run)
    facts = read_tensors(other / "model.safetensors")[1]
    facts["config"] = json.loads((run / "config.json").read_text())["config"]
    write_tensors(run / "model.safetensors", {"a": torch.ones(1)}, facts)
    with pytest.raises(ValueError, match=r"model\.safetensors must hold the weights .* is missing"):
        load(run)


def test_a_folder_of_another_config_is_refused_and_left_alone(run):
    before = contents(run)
    for config in (tiny(seed=1), tiny(steps=31, model=DecoderConfig(width=8, heads=2, layers=1))):
        for use in (lambda c: train(c, run), lambda c: save(fresh_model(c), c, run)):
            with pytest.raises(
                ValueError, match=r"must hold a run of the same config.*now.*; choose another folder"
            ):
                use(config)
    assert contents(run) == before


def test_a_run_that_failed_before_its_first_checkpoint_may_begin_anew_with_another_config(tmp_path):
    short = tiny(model=DecoderConfig(width=8, heads=2, layers=1, positions="absolute", limit=1))
    with pytest.raises(ValueError, match="Learned positions end at 1"):
        train(short, tmp_path / "run")
    config = tiny()
    train(config, tmp_path / "run")
    train(config, tmp_path / "straight")
    assert read_config(tmp_path / "run") == config
    found, expected = (weights(load(tmp_path / name)[0]) for name in ("run", "straight"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_while_a_run_has_no_checkpoint_yet_nobody_else_begins_anew_in_its_folder(tmp_path, monkeypatch):
    config, other = tiny(), tiny(seed=1)

    def intrude(event):
        with pytest.raises(ValueError, match="must hold a run of the same config"):
            save(fresh_model(other), other, tmp_path / "run")
        monkeypatch.setattr(_lock, "fcntl", None)
        with pytest.raises(ValueError, match="must hold a run of the same config"):
            train(other, tmp_path / "run")
        monkeypatch.undo()

    train(config, tmp_path / "run", report=intrude)
    assert load(tmp_path / "run")[1] == config


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("ten years")
    with pytest.raises(
        ValueError, match=r"must be empty or hold a run, got \['thesis.txt'\] and no config.json"
    ):
        train(tiny(), tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"ten years"}
    with pytest.raises(ValueError, match="must be a folder, got a file; choose another place"):
        train(tiny(), tmp_path / "thesis.txt")


def test_a_model_without_its_checkpoint_is_not_trained_over(run):
    before = contents(run)
    with pytest.raises(
        ValueError, match=r"got model\.safetensors and no checkpoint\.safetensors; choose another"
    ):
        train(tiny(), run)
    assert contents(run) == before


def test_an_unknown_packaged_model_is_refused_with_the_list():
    with pytest.raises(ValueError, match=r"packaged model must be one of \[.*\], got 'nothing'; choose one"):
        pretrained("nothing")


def test_the_vocabulary_comes_from_the_task(run):
    model, config = load(run)
    assert model(torch.tensor([[0]])).shape[-1] == WordProblem(config.task).vocabulary
