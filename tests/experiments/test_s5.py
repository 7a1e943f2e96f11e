"""The reproduction on S5 leaves a record and a page that say what it found, however often it was interrupted."""

import json
from dataclasses import replace

import pytest

from scannable.cli import main
from scannable.experiments import S5Config, s5
from scannable.experiments import _s5 as module
from scannable.viewer import record_page


@pytest.fixture
def config(monkeypatch):
    """The packaged variant alone, on the two permutations of two points, on a CPU and nearly untrained."""
    recipe = replace(
        module.RECIPE,
        task=replace(module.RECIPE.task, group="C2", longest=2),
        model=replace(module.RECIPE.model, width=8, heads=2),
        curriculum=replace(module.RECIPE.curriculum, stages=(), threshold=0.99, every=1, words=8),
        optimiser=replace(module.RECIPE.optimiser, warmup=1),
        tokens=16,
        draw="cpu",
    )
    monkeypatch.setattr(module, "VARIANTS", {"packaged": recipe})
    return S5Config(device="cpu", steps=2, tokens=40, piece=8, singles=2, sequences=2)


def test_what_was_found_stands_in_the_folder_and_an_interrupted_call_finds_the_same(config, tmp_path):
    found = s5(config, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(json.dumps(found))
    assert (tmp_path / "report.html").read_text() == record_page(found)
    assert found["variants"][0]["solved_at_step"] == {"2": 1}
    again = s5(config, tmp_path)
    assert again["variants"][0]["solved_at_step"] == {"2": 1}
    assert again["variants"][0]["products"] == found["variants"][0]["products"]


def test_the_command_says_where_the_report_is(config, tmp_path, capsys):
    arguments = ["--device", "cpu", "--steps", "2", "--tokens", "40", "--sequences", "2"]
    # An untrained model is wrong, which is what the exit code tells.
    assert main(["reproduce", "s5", "--folder", str(tmp_path / "runs"), *arguments]) in (0, 1)
    assert "report.html" in capsys.readouterr().out
    assert (tmp_path / "runs" / "report.html").exists()
