"""``scannable train text`` as a person and a program meet it."""

import json
import os
import subprocess
import sys

import pytest

from scannable.cli import _train_text, main
from scannable.cli._train_text import Options, parse
from scannable.training import read_config
from scannable.training._distributed import Peers
from scannable.training._folder import fresh_model
from scannable.training._text import TextCourse

TEXT = "--tokenizer bytes --length 8 --tokens 16 --check-every 4 --check-tokens 20"
RUN = "--steps 8 --optimiser.warmup 2 --log-every 4"
MODEL = "--model.width 8 --model.heads 2 --model.chunk 2 --model.inference-layers 1"


@pytest.fixture
def command(tmp_path):
    (tmp_path / "verse.txt").write_bytes(b"Row, row, row your boat, gently down the stream. " * 10)
    places = ["--data", str(tmp_path / "verse.txt"), "--folder", str(tmp_path / "run")]
    return ["train", "text", *places, *TEXT.split(), *RUN.split(), *MODEL.split()]


def test_a_run_on_text_says_how_it_goes_and_what_comes_next(command, capsys, tmp_path):
    assert main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    for words in ("step 4 of 8 · loss", "tokens/s", "held-out tokens, perplexity", "bits a byte"):
        assert words in said
    assert "Over after 8 steps" in said
    assert "all steps are made." in said
    assert f"Next: scannable generate {tmp_path / 'run'} The, scannable evaluate text" in said
    assert read_config(tmp_path / "run").text.length == 8


def test_a_folder_of_any_name_is_told_by_its_name(command, capsys, tmp_path):
    folder = tmp_path / "a run [bold] of [/v2]"
    command[command.index("--folder") + 1] = str(folder)
    assert main(command) == 0
    said = capsys.readouterr().out.replace("\n", "")
    assert f"Training in {folder}; Ctrl-C".replace(" ", "") in said.replace(" ", "")
    assert f"Next: scannable generate '{folder}' The".replace(" ", "") in said.replace(" ", "")
    assert main(["evaluate", "text", str(folder), "--limit", "9"]) == 0
    assert f"{folder}, 9 tokens".replace(" ", "") in "".join(capsys.readouterr().out.split())


def test_progress_as_json_is_json_line_by_line(command, capsys):
    assert main([*command, "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == [
        "progress",
        "textcheck",
        "progress",
        "textcheck",
        "result",
    ]
    assert events[-1]["stopped"] == "steps"
    assert main([*command, "--json"]) == 0  # over already: nothing is trained again
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["result"]
    assert main([*command, "--seed", "1"]) == 1
    assert "must hold a run of the same config" in capsys.readouterr().err


def test_every_model_is_trained_on_text(command, capsys):
    folder = command.index("--folder") + 1
    shared = command[: command.index("--model.width")]
    for model in (
        "decoder --model.window 4 --model.width 8 --model.heads 2",
        "affine --model.row gla --model.width 8",
    ):
        shared[folder] += "x"
        assert main([*shared, "--model", *model.split()]) == 0
        assert "Over after 8 steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--data", "no-such-file"], 1, "no-such-file"),
        (["--length", "0"], 2, "length must be at least 1, got 0"),
        (["--length", "1000"], 1, "at least 2 * length = 2000 tokens, got"),
        (["--tokenizer", "words"], 2, "'words'"),
        (["--model.inference", "else"], 2, "'else'"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(command, capsys, words, code, said):
    assert main([*command, *words]) == code
    captured = capsys.readouterr()
    assert said in " ".join(captured.err.split())
    assert "Traceback" not in captured.err


def test_words_are_not_evaluated_as_text_nor_text_as_words(command, capsys, tmp_path):
    assert main(command) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run")]) == 1
    assert "must have been trained on word problems" in " ".join(capsys.readouterr().err.split())
    assert main(["evaluate", "text", "s5"]) == 1
    assert "must have been trained on text" in " ".join(capsys.readouterr().err.split())


def test_a_terminal_that_lacks_a_sign_does_not_end_a_training(command):
    done = subprocess.run(
        [sys.executable, "-m", "scannable", *command],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert r"\xb7" in done.stdout


def test_of_an_option_that_is_given_twice_the_last_counts(command, tmp_path):
    place = command.index("--optimiser.warmup")
    kept = [*command[:place], *command[place + 2 :]]
    assert main([*kept, "--steps", "1000", "--steps", "40"]) == 0
    assert read_config(tmp_path / "run").optimiser.warmup == 2


def test_files_that_are_of_no_part_are_named(command, capsys, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("train journeys.txt", "paris.txt", "rome.txt"):
        (folder / name).write_text("Row, row, row your boat. " * 20)
    command[command.index("--data") + 1] = str(folder)
    assert main(command) == 0
    assert "Not read, since their names say no part, or they are folders: paris.txt, rome.txt." in one_line(
        capsys
    )


def test_what_is_held_out_is_said(command, capsys, tmp_path):
    assert main(command) == 0
    assert "Held out: the last 25 of the 490 tokens of the only article (25 tokens);" in one_line(capsys)
    assert main(["evaluate", "text", str(tmp_path / "run")]) == 0
    assert "The text: the last 25 of the 490 tokens of the only article, held out in training." in one_line(
        capsys
    )


@pytest.mark.parametrize("steps", [1, 40, 400, 1000, 5000])
def test_a_warm_up_that_is_not_given_is_a_small_part_of_the_run(steps):
    def warmup(*words):
        args = ["--steps", str(steps), *words]
        return parse(Options, args=args, config=()).config.optimiser.warmup

    assert warmup() == warmup("--model", "affine") == min(50, max(1, steps // 20))
    assert warmup("--steps", "_".join(str(steps))) == warmup()
    assert warmup("--optimiser.warmup", "1") == 1
    if steps > 1:
        assert warmup("--optimiser.warmup", str(steps - 1)) == steps - 1


@pytest.mark.parametrize("chunk", [2, 3, 4, 8])
def test_a_chunk_too_long_for_a_merge_is_said_and_no_other(command, capsys, chunk):
    place = command.index("--model.chunk") + 1
    command[place] = str(chunk)
    assert main([*command, "--steps", "2"]) == 0
    assert ("No merge will be trained: a window of 8" in one_line(capsys)) == (chunk >= 4)
    config = read_config(command[command.index("--folder") + 1])
    course, model = TextCourse(config, Peers()), fresh_model(config)
    course.loss(model, course.batch(0)).backward()
    assert any(x.grad is None for x in model.parameters()) == (chunk >= 4)


@pytest.mark.parametrize("agreed", [False, True])
def test_what_the_first_process_says_the_others_do_not_repeat(command, capsys, monkeypatch, agreed):
    def refuse(*_):
        error = ValueError("A rule.")
        error.agreed = agreed
        raise error

    monkeypatch.setattr(_train_text, "run", refuse)
    assert main(command) == 1
    assert ("A rule." in capsys.readouterr().err) != agreed


def one_line(capsys):
    return " ".join(capsys.readouterr().out.split())
