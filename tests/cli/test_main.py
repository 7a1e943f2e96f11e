"""What a person or a program meets at the command line: help, errors in words, exit codes, JSON and nothing else."""

import contextlib
import json
import os
import pty
import shlex
import subprocess
import sys

import pytest
import torch
from rich.console import Console

from scannable.cli import _main, main
from scannable.cli._commands import COMMANDS
from scannable.cli._terminal import Terminal


def test_help_names_every_command_and_the_exit_codes(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text and command.summary[:30] in text for name, command in COMMANDS.items())
    assert "130 after Ctrl-C" in " ".join(text.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_explains_every_option_and_ends_with_examples(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert "--json" in text
    assert "Examples" in text
    assert all(line in text for line, _ in COMMANDS[name].examples)


def test_help_stays_in_its_columns_at_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setattr(_main, "Terminal", lambda: Terminal(console=Console(width=60)))
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out.split("\n\n")[2].splitlines()
    width = max(map(len, COMMANDS))
    assert max(map(len, listed)) <= 60
    assert all(line.startswith("  ") and line[2 + width : 4 + width] == "  " for line in listed)
    assert main(["evaluate", "text", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {line}\n" in printed for line, _ in COMMANDS["evaluate text"].examples)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_understood(name):
    import importlib

    import tyro

    module = importlib.import_module(f"scannable.cli.{COMMANDS[name].file}")
    for line, _ in COMMANDS[name].examples:
        # What starts scannable, alone or as several processes, is not ours to read.
        words = shlex.split(line.rpartition("-m ")[2].split(" > ")[0])[1 + len(name.split()) :]
        parse = getattr(module, "parse", tyro.cli)
        assert isinstance(parse(module.Options, args=words, config=()), module.Options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evlute"], "got 'evlute'; did you mean evaluate?"),
        (["train"], "one of ['words', 'text'], got nothing; type scannable train words --help."),
        (["train", "wrds"], "got 'wrds'"),
        (["train", "words", "--steps", "0"], "steps, tokens, parts and log_every must be at least 1"),
        (["train", "words", "--task.group", "X9"], "got 'X9'"),
        (["intro", "--tokens", "0"], "tokens must be at least 1"),
        (["demo", "--between", "inf"], "between must be finite"),
        (["reproduce", "s5", "--steps", "10"], "steps must be at least 50, the steps of the warm-up, got 10"),
        (["reproduce", "s5", "--tokens", "0"], "tokens, piece and sequences must be at least 1"),
        (["train", "text", "--model.norm", "inf"], "norm must be finite and above zero, got inf"),
    ],
)
def test_what_is_not_understood_gives_2_and_one_sentence(arguments, words, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert "Traceback" not in captured.err
    assert not captured.out


@pytest.mark.parametrize("arguments", [["generate", "--help"], ["train", "text", "--steps", "x"]])
def test_without_colours_nothing_is_coloured(arguments):
    run = [sys.executable, "-m", "scannable", *arguments]
    wants = os.environ | {"TERM": "xterm", "NO_COLOR": "1"}
    printed = b"".join(_at_a_terminal(run, wants))
    assert b"\x1b[" not in printed.replace(b"\x1b[1m", b"").replace(b"\x1b[2m", b"").replace(b"\x1b[0m", b"")
    assert b"\x1b[3" in b"".join(_at_a_terminal(run, {k: v for k, v in wants.items() if k != "NO_COLOR"}))


def _at_a_terminal(run, environment):
    """Yield what a program writes to a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(run, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                yield piece
    os.close(ours)


def test_an_option_that_does_not_exist_gives_2(capsys):
    assert main(["evaluate", "s5", "--lenghts", "3"]) == 2
    assert "--lengths" in capsys.readouterr().err


def test_a_failure_gives_1_and_one_sentence_without_traceback(capsys):
    assert main(["evaluate", "no-such-run"]) == 1
    captured = capsys.readouterr()
    assert "RUN must be a run's folder or the name of a packaged model, got 'no-such-run'" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "got this from it: no more; take a smaller model, fewer --tokens"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried\nmore"),
            "from it: CUDA out of memory. Tried; take",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"),
            "can't allocate memory: 9 bytes;",
        ),
        (RuntimeError("a defect"), None),
    ],
)
def test_too_little_memory_is_told_with_a_cure_and_a_defect_is_not_hidden(monkeypatch, capsys, error, told):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("scannable.cli._generate.run", fail)
    if told is None:
        with pytest.raises(RuntimeError, match="a defect"):
            main(["generate", "run", "x"])
    else:
        assert main(["generate", "run", "x"]) == 1
        assert told in " ".join(capsys.readouterr().err.split())


def test_a_text_with_brackets_is_refused(capsys):
    assert main(["intro", "--text", "a(b"]) == 2
    assert "none of them a bracket, got 'a(b'" in " ".join(capsys.readouterr().err.split())


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("scannable ")


def test_ctrl_c_gives_130_and_says_how_to_go_on(monkeypatch, capsys, tmp_path):
    import scannable.cli._follow as command

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "train", interrupted)
    assert main(["train", "words", "--folder", str(tmp_path / "run")]) == 130
    assert "the same command goes on from here" in capsys.readouterr().err


def test_progress_as_json_is_json_line_by_line(monkeypatch, capsys, tmp_path):
    folder = tmp_path / "run"
    options = (
        "--task.group C2 --task.longest 4 --curriculum.stages 2 --steps 6 --optimiser.warmup 2 --log-every 3"
    )
    small = "--model.width 8 --model.heads 2 --model.chunk 1 --model.shared --model.inference-layers 1"
    options += " --tokens 32 --curriculum.words 8"
    command = ["train", "words", "--folder", str(folder), *options.split(), *small.split(), "--json"]
    assert main(command) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events].count("progress") == 2
    assert events[-1]["event"] == "result"
    assert events[-1]["step"] == 6

    assert main(command) == 0  # over already: nothing is trained again
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["result"]
    assert main([*command, "--seed", "1"]) == 1
    assert "must hold a run of the same config" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.split()[0] not in COMMANDS])
def test_help_of_half_a_command_says_the_other_half(name, capsys):
    assert main([name.split()[0], "--help"]) == 0
    text = capsys.readouterr().out
    assert "needs a second word" in text
    assert f"scannable {name} --help" in " ".join(text.split())
    assert "scannable demo" not in text


def test_a_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["train", "words", "--folder", str(tmp_path / "file" / "run")]) == 1
    captured = capsys.readouterr()
    assert f"{tmp_path / 'file' / 'run'} must be a folder that can be made" in captured.err
    assert "choose another place" in captured.err
