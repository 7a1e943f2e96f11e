"""scannable view tells measurements from models, and says in words what it cannot show."""

import json
from pathlib import Path

import pytest

from scannable.cli import main
from scannable.viewer import record_page

DEMO = Path(__file__).parents[2] / "docs" / "results" / "demo.json"


@pytest.fixture
def shown(tmp_path, capsys):
    """Show something in a file, and return the page."""

    def show(*arguments):
        out = tmp_path / "page.html"
        assert main(["view", *map(str, arguments), "--out", str(out), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"path": str(out.resolve())}
        return out.read_text(encoding="utf-8")

    return show


def test_a_record_is_shown_from_its_file_and_from_its_folder(shown, tmp_path):
    expected = record_page(json.loads(DEMO.read_text(encoding="utf-8")))
    assert shown(DEMO) == expected
    (tmp_path / "results.json").write_bytes(DEMO.read_bytes())
    assert shown(tmp_path) == expected
    (tmp_path / "results").write_bytes(DEMO.read_bytes())
    assert shown(tmp_path / "results") == expected


def test_a_run_that_was_measured_is_shown_from_the_inside_where_there_is_a_prompt(shown, run):
    (run / "results.json").write_bytes(DEMO.read_bytes())
    assert "scannable demo" in shown(run)
    assert "A run from the inside" in shown(run, "--prompt", "1 2 3 4 5")
    (run / "results.json").unlink()
    assert "A run from the inside" in shown(run)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "A prompt is for a model, got RUN=nothing"),
        ([str(DEMO)], "A prompt is for a model, got RUN="),
        (["nowhere.json"], "A prompt is for a model, got RUN=nowhere.json"),
        (
            ["nowhere"],
            "RUN must be a run's folder or the name of a packaged model, got 'nowhere'; give a folder with config.json",
        ),
    ],
)
def test_a_prompt_without_a_model_is_refused(arguments, words, capsys):
    assert main(["view", *arguments, "--prompt", "1 2"]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("prompt", [[], ["--prompt", "1 2"]], ids=["no prompt", "a prompt"])
def test_what_is_no_run_is_named_once_with_what_run_may_be(prompt, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["view", "nowhere", *prompt, "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert said.count("nowhere") == said.count("packaged model") == said.count(".\n") == 1
    (tmp_path / "empty").mkdir()
    assert main(["view", str(tmp_path / "empty"), *prompt, "--out", str(out)]) == 1
    measured = "" if prompt else ", a JSON file of ours, a folder with results.json"
    assert capsys.readouterr().err == (
        f"scannable: RUN must be a run's folder{measured} or the name of a packaged model, got "
        f"'{tmp_path / 'empty'}'; give a folder with config.json or a name such as s5, or make a run with scannable "
        f"train.\n"
    )


def test_a_damaged_run_is_told_by_what_is_wrong_with_it(run, capsys):
    (run / "model.safetensors").unlink()
    assert main(["view", str(run)]) == 1
    assert "must hold model.safetensors" in capsys.readouterr().err
    (run / "config.json").write_text("{")
    assert main(["view", str(run)]) == 1
    assert "config.json must be a JSON file" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told_by_its_name_with_a_cure(tmp_path, capsys):
    missing = tmp_path / "missing"
    assert main(["view", "--out", str(missing / "page.html")]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"got {missing / 'page.html'}; make the folder {missing} first." in said
    assert main(["view", "--out", str(tmp_path)]) == 1
    other = " ".join(capsys.readouterr().err.split())
    assert f"got the folder {tmp_path}; name a file in it." in other
    assert ".partial" not in said + other
    assert list(tmp_path.parent.glob(".*.partial")) == list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "must be a JSON file, got none there"),
        ("{", "A record must be JSON"),
        ("{}", "found.json: A record with a page must be of a kind in ['demo'"),
    ],
)
def test_a_file_that_is_no_record_is_refused(content, words, tmp_path, capsys):
    path, out = tmp_path / "found.json", tmp_path / "page.html"
    if content:
        path.write_text(content)
    assert main(["view", str(path), "--out", str(out)]) == 1
    assert words in capsys.readouterr().err
    assert not out.exists()
