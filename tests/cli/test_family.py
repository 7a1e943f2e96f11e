"""The family at the command line: its table at any width, its laws, its costs, and runs of its rows."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rich.console import Console

from scannable.affine import ROWS, family
from scannable.cli import _family as command
from scannable.cli import main
from scannable.cli._family import Options, run
from scannable.cli._terminal import Terminal

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_shows_every_part_of_every_row_at_any_width(width, capsys):
    assert run(Options(), Terminal(console=Console(width=width, highlight=False)))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    words = "".join("".join(lines).split())
    for row in family():
        assert row.name in words
        # At 160 columns the parts of a row stand side by side, so that a formula of two lines is cut.
        for part in (row.element, row.shift, row.read, row.reference) if width == 80 else ():
            assert all("".join(piece.split()) in words for piece in part.split(",  "))


def test_a_program_gets_the_same_rows(capsys):
    assert main(["family", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in rows] == list(ROWS)
    expected = {"name", "title", "action", "element", "shift", "read", "reference"}
    assert all(set(row) == expected for row in rows)


def test_costs_are_counted_printed_and_drawn(tmp_path, monkeypatch, capsys):
    record = json.loads((ROOT / "docs/results/family.json").read_text())
    monkeypatch.setattr(command, "family_counts", lambda *_: record)
    figure = tmp_path / "family.svg"
    assert main(["family", "--measure", "--figure", str(figure)]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("mamba", "elementwise", "transformer-psm", "decoder"))
    assert ET.parse(figure).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_a_figure_that_has_no_place_is_refused_before_anything_is_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "family_counts", lambda *_: pytest.fail("counted"))
    missing = tmp_path / "missing"
    assert main(["family", "--measure", "--figure", str(missing / "family.svg")]) == 1
    said = capsys.readouterr().err
    assert f"--figure must be a file in a folder that is there, got {missing / 'family.svg'}" in said
    assert f"make the folder {missing} first." in said
    assert ".partial" not in said


def test_a_figure_of_nothing_is_refused(capsys):
    assert main(["family", "--figure", "x.svg"]) == 2
    assert "add --measure" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_row_passes_the_laws_of_models_and_of_its_pairs(capsys):
    assert main(["verify", "--row", "gla", "--length", "9", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["row"] == "gla"
    laws = ["causality", "duality", "batch independence", "counts", "resumption"]
    assert [report["law"] for report in record["reports"]] == [*laws, "identity", "associativity", "counts"]
    assert all(report["judged"] and report["passed"] for report in record["reports"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--row", "lstm"], "row must be one of ['linear-attention',"),
        (["s5", "--row", "gla"], "Give either TARGET or --row"),
        ([], "Give either TARGET or --row"),
        (["--row", "gla", "--shape", "3"], "--shape is that of an aggregator's states"),
    ],
)
def test_a_row_or_a_target_and_one_that_exists(words, said, capsys):
    assert main(["verify", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_row_is_trained_resumed_evaluated_and_verified(tmp_path, capsys):
    folder = str(tmp_path / "run")
    words = (
        "train words --model affine --model.row=deltaproduct --model.options.heads 2 --model.options.no-gated"
    )
    words += " --model.width 16 --task.group parity --task.longest 4 --optimiser.warmup 5 --tokens 64 --json"
    words += f" --curriculum.every 5 --curriculum.words 8 --log-every 5 --steps 10 --folder {folder}"
    assert main([*words.split(), "--time-limit", "1e-9"]) == 0
    assert main(words.split()) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["step"] == 10
    model = json.loads((tmp_path / "run" / "config.json").read_text())["config"]["model"]
    assert (model["row"], model["options"]) == ("deltaproduct", {"heads": 2, "gated": False})
    assert main([*words.split(), "--model.options.factors", "3"]) == 1
    assert "model.options.factors: None, now 3" in capsys.readouterr().err
    assert main(["evaluate", folder, "--lengths", "9", "--sequences", "4", "--form", "streaming"]) == 0
    assert main(["verify", folder, "--length", "9"]) == 0


def test_help_lists_the_options_of_the_chosen_row(capsys):
    assert main(["train", "words", "--model", "affine", "--model.row", "mamba2", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--model.options.groups INT" in text
    assert "--model.options.expand FLOAT" in text
    assert main(["train", "words", "--model", "affine", "--model.row", "lstm"]) == 2
    assert "row must be one of" in capsys.readouterr().err
