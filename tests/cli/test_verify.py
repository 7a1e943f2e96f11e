"""A class of one's own is found, given states, checked, and what is broken is named."""

import json
import textwrap

import pytest

from scannable.cli import main

OWN = """
    import torch


    class Skew:
        def combine(self, left, right):
            return 2 * left + 3 * right

        def identity(self, like):
            return torch.zeros_like(like)


    class Mixes(Skew):
        def combine(self, left, right):
            return left + right - right.mean(0)


    class Pair:
        def combine(self, left, right):
            return left[0] @ right[0], left[1] + right[1]

        def identity(self, like):
            return tuple(map(torch.zeros_like, like))


    class Drawn(Pair):
        def draw(self, batch, length, generator):
            shape = batch, length
            return torch.randn(*shape, 2, 2, generator=generator), torch.randn(*shape, generator=generator)


    class Sized(Skew):
        def __init__(self, width):
            self.width = width


    ready = Sized(3)
    number = 3
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own_laws.py"
    path.write_text(textwrap.dedent(OWN))
    return path


def verify(target, *options):
    return main(["verify", str(target), "--length", "9", *options])


@pytest.mark.parametrize(
    ("name", "options"),
    [("Skew", ()), ("ready", ("--shape", "2,3")), ("Pair", ("--shape", "2,2", "5")), ("Drawn", ())],
)
def test_a_lawful_class_passes_every_law(own, name, options, capsys):
    assert verify(f"{own}:{name}", *options, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["passed"]
    laws = ["identity", "associativity", "duality", "batch independence", "counts", "resumption"]
    assert [report["law"] for report in record["reports"]] == laws


def test_associativity_is_told_but_not_judged(own, capsys):
    assert verify(f"{own}:Skew") == 0
    text = capsys.readouterr().out
    assert "associativity of Skew on (3, 9, 16): measured" in text
    assert "FAILED" not in text


def test_a_module_in_the_working_directory_is_found(own, monkeypatch, capsys):
    monkeypatch.chdir(own.parent)
    assert verify("own_laws:Skew") == 0


def test_a_class_that_mixes_rows_is_caught_and_explained(own, capsys):
    assert verify(f"{own}:Mixes") == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "laws do not hold: duality, batch independence" in text
    assert "mixes rows" in text


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("{own}:Nothing", "must hold Nothing, got only"),
        ("{own}:Sized", "must be callable without arguments"),
        ("{own}:number", "must be an aggregator (combine, identity) or a model"),
        ("{own}:Pair", "say what a state looks like with --shape"),
        ("{own}x.py:Skew", "must be a Python file, got no such file"),
        ("no_such_module:Skew", "got none of that name"),
        ("nowhere", "a run's folder or the name of a packaged model"),
    ],
)
def test_what_cannot_be_checked_is_explained_and_gives_1(own, target, words, capsys):
    assert verify(target.format(own=own)) == 1
    assert words in capsys.readouterr().err


def test_a_run_passes_the_laws_of_models(run, capsys):
    assert verify(run, "--json") == 0
    laws = [report["law"] for report in json.loads(capsys.readouterr().out)["reports"]]
    assert laws == ["causality", "duality", "batch independence", "counts", "resumption"]


def test_a_model_of_ones_own_needs_to_be_told_its_tokens(tmp_path, capsys):
    path = tmp_path / "own_model.py"
    path.write_text(
        "from scannable import Decoder, DecoderConfig\n"
        "model = Decoder(DecoderConfig(width=8, heads=2, layers=1), 5)\n"
    )
    assert verify(f"{path}:model") == 1
    assert "neither --vocabulary nor a method draw" in capsys.readouterr().err
    assert verify(f"{path}:model", "--vocabulary", "5") == 0


STRANGE = """
    import torch


    class Skew:
        def combine(self, left, right):
            return 2 * left + 3 * right

        def identity(self, like):
            return torch.zeros_like(like)


    class Unmade(Skew):
        def __init__(self):
            raise RuntimeError("no such thing")


    class Lost(Skew):
        def identity(self, like):
            raise KeyError("zero")


    class Asserts(Skew):
        def combine(self, left, right):
            assert left.shape[0] == 1
            return left


    class Draws(Skew):
        def draw(self, batch, length, generator):
            return torch.zeros(batch)


    class Undrawn(Skew):
        def draw(self, batch, length, generator):
            raise KeyError("zero")
"""


@pytest.fixture
def strange(tmp_path):
    path = tmp_path / "strange_laws.py"
    path.write_text(textwrap.dedent(STRANGE))
    return path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Unmade", "got RuntimeError (no such thing) in {file}, line 15"),
        ("Lost", "raised KeyError ('zero') in {file}, line 20"),
        ("Asserts", "AssertionError in {file}, line 25"),
        ("Draws", "must return tensors whose shape begins with (3, 9), got Tensor of shape (3,)"),
        ("Undrawn", "got KeyError ('zero') in {file}, line 36"),
    ],
)
def test_what_a_strangers_code_raises_is_told_with_its_line(strange, name, words, capsys):
    assert verify(f"{strange}:{name}") == 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    said = "".join((captured.out + captured.err).split())
    assert "".join(words.format(file=strange).split()) in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("class A:\n    x = (\n", "got SyntaxError ('(' was never closed) in {file}, line 2"),
        ("import no_such_module_at_all\n", "got ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "got SystemExit (3) in {file}, line 1"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_with_its_line(tmp_path, content, words, capsys):
    path = tmp_path / "broken_laws.py"
    path.write_text(content)
    assert verify(f"{path}:A") == 1
    assert words.format(file=path) in capsys.readouterr().err


def test_a_file_without_a_name_lists_its_classes(strange, capsys):
    assert verify(strange) == 1
    error = capsys.readouterr().err
    assert f"{strange}:Skew, {strange}:Unmade" in error


@pytest.mark.parametrize(
    "options", [("--shape", "a"), ("--vocabulary", "0"), ("--batch", "1"), ("--seed", "-1")]
)
def test_options_that_make_no_sense_give_2(strange, options, capsys):
    assert main(["verify", f"{strange}:Skew", *options]) == 2
    assert "must be" in capsys.readouterr().err or options[0] == "--batch"
