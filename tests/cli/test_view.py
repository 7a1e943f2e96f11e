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
        (["nowhere"], "RUN must be a run's folder or the name of a packaged model, got 'nowhere'"),
    ],
)
def test_a_prompt_without_a_model_is_refused(arguments, words, capsys):
    assert main(["view", *arguments, "--prompt", "1 2"]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "must be a JSON file, got none there"),
        ("{", "A record must be JSON"),
        ("{}", "of a kind in ['demo'"),
    ],
)
def test_a_file_that_is_no_record_is_refused(content, words, tmp_path, capsys):
    path, out = tmp_path / "found.json", tmp_path / "page.html"
    if content:
        path.write_text(content)
    assert main(["view", str(path), "--out", str(out)]) == 1
    assert words in capsys.readouterr().err
    assert not out.exists()
