"""Evaluation prints what was measured, for people and for programs."""

import json

import pytest

from scannable.cli import main


def test_every_length_is_measured_in_the_form_that_was_asked_for(run, capsys):
    options = ["--lengths", "3", "9", "--sequences", "8", "--form", "streaming", "--json"]
    assert main(["evaluate", str(run), *options]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["length"] for row in record["evaluations"]] == [3, 9]
    assert all(row["stream_bytes"] > 0 for row in record["evaluations"])


def test_the_lengths_left_out_are_1_10_and_100_times_that_of_training(run, capsys):
    assert main(["evaluate", str(run), "--sequences", "2"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{length} " in text for length in (4, 40, 400))


def test_lengths_below_one_are_refused(run, capsys):
    assert main(["evaluate", str(run), "--lengths", "0"]) == 2
    assert "Lengths must be at least 1, got (0,)" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "code"), [(("--device", "foo"), 2), (("--device", "cuda:99"), 1)])
def test_a_device_that_is_not_there_is_refused(run, options, code, capsys):
    assert main(["evaluate", str(run), *options]) == code
    error = " ".join(capsys.readouterr().err.split())
    assert "device must be" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("name", ["sequences", "piece", "tokens"])
def test_numbers_below_one_give_2(run, name, capsys):
    assert main(["evaluate", str(run), f"--{name}", "0"]) == 2
    assert "must be at least 1" in " ".join(capsys.readouterr().err.split())
