"""A text is scored in every reading and form that was asked for, for people and for programs."""

import json
from dataclasses import replace

import pytest

from scannable.cli import main
from scannable.models import DecoderConfig, TransformerPSMConfig, build
from scannable.training import TextConfig, TextRunConfig, read_config, save, train

ARTICLE = " \n = One {} = \n \n It has a row of words , and all of them are short . \n"
SIZE = len(ARTICLE.format(10))


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("".join(ARTICLE.format(number) for number in range(10, 50)))
    return file


def saved(text, model):
    """The folder of a run on bytes of the text, whose model knows nothing yet."""
    config = TextRunConfig(model=model, text=TextConfig(data=str(text), tokenizer="bytes", length=16))
    save(build(model, 256), config, text.parent / "run")
    return text.parent / "run"


@pytest.fixture
def psm(text):
    return saved(text, TransformerPSMConfig(width=16, heads=2, chunk=4, inference_layers=1))


def evaluate(*arguments):
    return main(["evaluate", "text", *map(str, arguments)])


def test_readings_and_forms_are_scored_side_by_side(psm, text, capsys):
    assert evaluate(psm, "--data", text, "--reading", "both", "--form", "both", "--limit", 300, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    kinds = [
        ("blocked", "parallel"),
        ("blocked", "streaming"),
        ("carried", "parallel"),
        ("carried", "streaming"),
    ]
    assert [(row["reading"], row["form"]) for row in record["scores"]] == kinds
    assert {row["tokens"] for row in record["scores"]} == {300}
    assert [row["length"] for row in record["scores"]] == [16, 16, None, None]
    assert all(value < 1e-5 for value in record["difference_of_ln_perplexity"].values())
    assert list(record["difference_of_ln_perplexity"]) == ["blocked", "carried"]


def test_people_get_the_figures_the_difference_of_the_forms_and_the_loss_by_place(psm, text, capsys):
    assert evaluate(psm, "--data", text, "--reading", "carried", "--form", "both", "--length", 8) == 0
    printed = capsys.readouterr().out
    for words in (
        f"{40 * SIZE - 1:,} tokens (bytes) of 40 articles",
        "authors' subset",
        "carried: the two forms differ by",
    ):
        assert words in printed
    assert "\n0-63 " in printed
    assert "\n64-127 " in printed
    assert "carried: tokens" in printed


def test_the_validation_part_of_the_runs_own_data_is_read_if_none_is_given(psm, capsys):
    assert evaluate(psm, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["scores"]
    assert row["tokens"] == 2 * SIZE - 1  # two of forty articles are held out
    assert (row["reading"], row["form"]) == ("blocked", "parallel")


def test_figures_of_chunks_are_dashes_for_a_model_without_them(text, capsys):
    decoder = saved(text, DecoderConfig(width=16, heads=2, layers=1, positions="rotary"))
    assert evaluate(decoder, "--data", text) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("authors' subset", "merges", "read merged"):
        (row,) = [line for line in lines if line.startswith(name)]
        assert row.split()[-1] == "-"


def test_a_table_of_all_readings_and_forms_fits_a_terminal(psm, text, capsys):
    assert evaluate(psm, "--data", text, "--reading", "both", "--form", "both") == 0
    printed = capsys.readouterr().out
    (heading,) = [line for line in printed.splitlines() if line.startswith("reading ")]
    assert heading.split() == ["reading", "blocked", "blocked", "carried", "carried"]
    lines = printed[printed.index(heading) : printed.index("the two forms")].splitlines()[:-1]
    assert max(len(line.rstrip()) for line in lines) < 80


def refused(capsys, code, *arguments):
    assert evaluate(*arguments) == code
    return " ".join(capsys.readouterr().err.split())


def test_a_run_on_words_is_refused(run, capsys):
    assert "RUN must have been trained on text" in refused(capsys, 1, run)


def test_a_text_of_another_kind_is_refused(psm, text, capsys):
    text.write_bytes(b"\xff\xfe\x00")
    assert text.name in refused(capsys, 1, psm, "--data", text)


def test_an_article_beyond_the_models_positions_is_refused(text, capsys):
    decoder = saved(text, DecoderConfig(width=16, heads=2, layers=1, limit=SIZE - 2))
    assert "positions" in refused(capsys, 1, decoder, "--reading", "carried")


@pytest.mark.parametrize("name", ["length", "limit", "tokens"])
def test_numbers_below_one_are_refused(psm, name, capsys):
    assert f"must be at least 1, got {{'{name}': 0}}" in refused(capsys, 2, psm, f"--{name}", 0)


@pytest.mark.parametrize(("device", "code"), [("foo", 2), ("cuda:99", 1)])
def test_a_device_that_is_not_there_is_refused(psm, device, code, capsys):
    assert "device must be" in refused(capsys, code, psm, "--device", device)


@pytest.fixture
def trained(text):
    config = TextRunConfig(
        model=DecoderConfig(width=8, heads=2, layers=1, positions="rotary"),
        text=TextConfig(data=str(text), tokenizer="bytes", length=16),
        time_limit=1e-6,
    )
    train(config, text.parent / "run")
    return text.parent / "run"


def test_what_was_trained_on_is_never_scored_as_held_out(trained, text, capsys):
    assert evaluate(trained, "--limit", 20) == 0
    text.write_text(text.read_text() + ARTICLE.format(99) * 20)
    said = refused(capsys, 1, trained, "--limit", 20)
    assert (
        "must be what the run began with, since what was trained on would be scored as held out, got a"
        in said
    )
    assert "a held-out part of fingerprint" in said
    assert "restore the files, or name a text of your own with --data." in said
    assert evaluate(trained, "--data", text, "--limit", 20) == 0


def test_a_text_that_is_not_where_the_run_read_it_is_told_so(trained, text, capsys):
    text.rename(text.with_suffix(".old"))
    said = refused(capsys, 1, trained)
    assert f"must be where the run read it, got none at {text} from here; go to the folder" in said
    config = read_config(trained)
    moved = replace(config, text=replace(config.text, data=str(text.with_suffix(".old"))))
    train(moved, trained)
    assert evaluate(trained, "--limit", 20) == 0


def test_the_help_explains_every_column_that_has_a_name_of_its_own(capsys):
    assert evaluate("--help") == 0
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in ("authors' subset", "read merged", "merge has gone into"):
        assert words in printed
