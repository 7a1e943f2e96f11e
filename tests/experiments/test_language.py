"""A row of the table of language models, tiny: what a call records, and how records are put together."""

import json
from dataclasses import replace

import numpy as np
import pytest

from scannable import experiments
from scannable.cli import main
from scannable.data import read_text
from scannable.experiments import (
    LANGUAGE_ROWS,
    BenchLanguageConfig,
    LanguageConfig,
    LanguageRow,
    bench_language,
    collect,
    language,
    language_table,
)
from scannable.experiments import _bench_language as bench
from scannable.models import Decoder, DecoderConfig, TransformerPSMConfig
from scannable.viewer import record_page

TINY = {
    "paper-64": TransformerPSMConfig(width=16, heads=2, chunk=4, inference_layers=1, positions="rotary"),
    "cross-64": TransformerPSMConfig(
        width=16, heads=2, chunk=4, inference_layers=1, positions="rotary", inference="cross"
    ),
    "decoder": DecoderConfig(width=16, heads=2, layers=1, positions="rotary"),
    "gpt2": DecoderConfig(width=16, heads=2, layers=1, limit=16),
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Rows that a CPU trains in a moment; windows of four chunks."""
    for name, model in TINY.items():
        monkeypatch.setitem(LANGUAGE_ROWS, name, LanguageRow(model=model, length=16))
    monkeypatch.setitem(experiments.LANGUAGE_PEERS, 16, "decoder")


@pytest.fixture
def ids(tmp_path):
    """A train and a valid part, in which some tokens are likelier than others; three articles of a title each."""
    folder = tmp_path / "ids"
    folder.mkdir()
    draw = np.random.default_rng(0)
    title = [220, 198, 796, 314, 796, 220, 198]
    for name, size in (("train", 600), ("valid", 120)):
        parts = [np.array([*title, *draw.integers(0, 40, size // 3)], "<u2") for _ in range(3)]
        (folder / f"{name}.u16").write_bytes(np.concatenate(parts).tobytes())
    return folder


def small(ids, **fields):
    defaults = {
        "data": str(ids),
        "rates": (1e-3, 1e-2),
        "trial_tokens": 96,
        "tokens": 192,
        "step_tokens": 48,
        "stream": 30,
        "device": "cpu",
        "compile": False,
    }
    return LanguageConfig(**defaults | fields)


def test_a_row_is_tried_trained_scored_in_both_forms_and_streamed(ids, tmp_path):
    said = []
    found = language(
        small(ids, row="paper-64"), tmp_path / "runs", lambda what, event: said.append((what, event))
    )
    json.dumps(found, allow_nan=False)
    assert [trial["rate"] for trial in found["trials"]] == [1e-3, 1e-2]
    assert found["rate"] == min(found["trials"], key=lambda trial: trial["loss"])["rate"]
    assert {what for what, _ in said} == {"rate 0.001", "rate 0.01", "training"}
    assert found["training"]["tokens"] == 192
    assert found["training"]["losses"][-1][0] == found["training"]["steps"] == 4
    ways = [(score["reading"], score["form"], score["precision"]) for score in found["scores"]]
    assert ways == [
        ("blocked", "parallel", "float32"),
        ("blocked", "streaming", "float32"),
        ("blocked", "parallel", "bfloat16"),
        ("blocked", "streaming", "bfloat16"),
        ("carried", "parallel", "float32"),
    ]
    losses = [score["loss"] for score in found["scores"]]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert losses[0] == pytest.approx(losses[2], abs=0.02)
    tokens = len(read_text(ids / "valid.u16").ids) - 1
    assert all(score["tokens"] == tokens for score in found["scores"])
    assert found["stream"]["tokens"] == 30
    assert found["stream"]["state_bytes"] > 0
    # Where the files were is not told.
    assert str(tmp_path) not in json.dumps(found)
    place = tmp_path / "runs" / "paper-64-0"
    assert json.loads((place / "results.json").read_text()) == json.loads(json.dumps(found))
    assert (place / "report.html").read_text() == record_page(found)


def test_a_call_that_was_interrupted_after_training_loses_nothing(ids, tmp_path, monkeypatch):
    monkeypatch.setattr("scannable.experiments._language._scores", lambda *_: None)
    config = small(ids, row="gpt2", rates=(1e-3,), stream=0)
    first, again = (language(config, tmp_path / "runs") for _ in range(2))
    assert first["training"]["losses"]
    assert {**again["training"], "seconds": 0} == {**first["training"], "seconds": 0}
    assert again["trials"] == first["trials"]


def test_a_stream_that_grows_is_timed_at_its_end(ids, tmp_path):
    found = language(small(ids, row="decoder", rate=1e-3, tokens=0, stream=40), tmp_path / "runs")
    assert found["training"] is found["scores"] is None
    assert (
        "a token of a long stream takes" in (tmp_path / "runs" / "decoder-stream" / "report.html").read_text()
    )
    assert (found["stream"]["tokens"], found["stream"]["after"]) == (40, 0)
    longer = language(small(ids, row="decoder", rate=1e-3, tokens=0, stream=80), tmp_path / "runs")
    assert longer["stream"]["state_bytes"] == 2 * found["stream"]["state_bytes"]


def test_positions_that_end_are_neither_carried_nor_streamed(ids, tmp_path):
    found = language(small(ids, row="gpt2", rate=1e-3), tmp_path / "runs")
    assert found["trials"] is None
    assert found["stream"] is None
    assert {score["reading"] for score in found["scores"]} == {"blocked"}


def test_records_are_put_together_in_the_order_of_the_table(ids, tmp_path, capsys):
    record = language(small(ids, row="cross-64", rate=1e-2), tmp_path / "run")
    calls = [
        ("decoder", 0, 9.0),
        ("cross-64", 1, 8.0),
        ("cross-64", 0, 6.0),
        ("paper-64", 0, None),
        ("decoder", 1, 5.0),
    ]
    files = []
    slow = record["stream"] | {"median": 7.0}
    tried, streamed = (
        {"scores": None, "trials": [{"rate": 1e-3, "loss": 5.0}]},
        {"scores": None, "stream": slow},
    )
    for row, seed, perplexity in calls:
        scores = [score | {"perplexity": perplexity} for score in record["scores"]]
        files.append(tmp_path / f"{row}-{seed}.json")
        which = {"row": row, "seed": seed} | ({"scores": scores} if perplexity else tried)
        files[-1].write_text(json.dumps(record | which))
    files.append(tmp_path / "stream.json")
    files[-1].write_text(json.dumps(record | {"row": "decoder"} | streamed))
    found = collect(files)
    order = [("cross-64", 0), ("cross-64", 1), ("decoder", 0), ("decoder", 1)]
    assert [(one["row"], one["seed"]) for one in found["rows"]] == order
    assert [one["row"] for one in found["trials"]] == ["paper-64"]
    assert [one["row"] for one in found["streams"]] == ["decoder"]
    cross, decoder = language_table(found, 16)
    assert (cross["stream"], decoder["stream"]) == (record["stream"], slow)
    assert cross["perplexities"] == [6.0, 8.0]
    assert cross["ratio"] == pytest.approx((6 / 9 + 8 / 5) / 2)
    assert decoder["ratio"] == 1.0
    assert cross["merged_share"] == pytest.approx(0.5, abs=0.03)
    assert main(["reproduce", "language", "--json", "--collect", *map(str, files)]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert main(["reproduce", "language", "--collect", *map(str, files)]) == 0
    assert "cross-64" in capsys.readouterr().out
    bench = {"bench": "language", "config": {"tokens": 48}, "machine": record["machine"], "rows": []}
    files.append(tmp_path / "speed.json")
    files[-1].write_text(json.dumps(bench))
    page = tmp_path / "table.html"
    assert main(["reproduce", "language", "--out", str(page), "--collect", *map(str, files)]) == 0
    assert page.read_text() == record_page(found | {"speeds": [bench]})
    assert main(["reproduce", "language", "--out", str(page)]) == 1
    assert "--out is where --collect writes its page" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"one row and seed each, got two of \[\('decoder', 0\)\]"):
        collect([*files, files[0]])
    files[0].write_text("[]")
    with pytest.raises(ValueError, match=r"decoder-0\.json must be what scannable reproduce language --json"):
        collect(files)


def test_an_unknown_row_is_refused():
    with pytest.raises(ValueError, match=r"row must be one of \['paper-32'.*got 'lstm'"):
        LanguageConfig(row="lstm")


def speeds(**fields):
    settings = {
        "rows": ("cross-64",),
        "lengths": (16,),
        "tokens": 48,
        "steps": 1,
        "repeats": 2,
        "vocabulary": 31,
    }
    return BenchLanguageConfig(**settings | {"device": "cpu", "compile": False} | fields)


def test_training_is_timed_beside_the_decoder():
    rows = bench_language(speeds())["rows"]
    assert [row["model"] for row in rows] == ["decoder", "cross-64"]
    assert rows[0]["ratio"] == 1.0
    assert rows[1]["ratio"] == rows[1]["tokens_per_second"] / rows[0]["tokens_per_second"]
    assert all(0 < row["error"] < 0.03 for row in rows)


def test_nothing_is_timed_when_a_gradient_is_wrong(monkeypatch):
    """A model whose gradients are a tenth too large."""
    real = Decoder.features

    def features(self, tokens):
        x = real(self, tokens)
        return x + 0.1 * (x - x.detach())

    monkeypatch.setattr(Decoder, "features", features)
    with pytest.raises(RuntimeError, match="verifies before it times"):
        bench_language(speeds())


def test_only_rows_of_the_table_are_timed():
    with pytest.raises(ValueError, match=r"got \['lstm'\]; leave those out"):
        replace(speeds(), rows=("lstm",))
    assert bench.PEER in LANGUAGE_ROWS
