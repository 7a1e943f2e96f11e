"""A row of the table of language models, tiny: what a call records, and how records are put together."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scannable import experiments
from scannable.cli import _reproduce_language as reproduce
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
from scannable.training import TextRunConfig, load
from scannable.training._folder import fresh_model
from scannable.training._run import Run
from scannable.viewer import record_page

TINY = {
    "paper-64": TransformerPSMConfig(width=16, heads=2, chunk=4, inference_layers=1, positions="rotary"),
    "cross-64": TransformerPSMConfig(
        width=16, heads=2, chunk=4, inference_layers=1, positions="rotary", inference="cross"
    ),
    "decoder": DecoderConfig(width=16, heads=2, layers=1, positions="rotary"),
    "gpt2": DecoderConfig(width=16, heads=2, layers=1, limit=16),
}


@pytest.fixture(autouse=True, scope="module")
def tiny():
    """Rows that a CPU trains in a moment; windows of four chunks."""
    with pytest.MonkeyPatch.context() as patch:
        for name, model in TINY.items():
            patch.setitem(LANGUAGE_ROWS, name, LanguageRow(model=model, length=16))
        patch.setitem(experiments.LANGUAGE_PEERS, 16, "decoder")
        yield


@pytest.fixture(scope="module")
def ids(tmp_path_factory):
    """A train and a valid part, in which some tokens are likelier than others; three articles of a title each."""
    folder = tmp_path_factory.mktemp("ids")
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
    told = json.dumps(found)
    assert str(tmp_path) not in told
    assert str(ids.parent) not in told
    place = tmp_path / "runs" / "paper-64-0"
    assert json.loads((place / "results.json").read_text()) == json.loads(json.dumps(found))
    assert (place / "report.html").read_text() == record_page(found)


def test_a_rate_at_which_training_diverges_is_not_chosen(ids, tmp_path):
    found = language(small(ids, row="decoder", rates=(1e9, 1e-3), tokens=0, stream=0), tmp_path)
    assert found["rate"] == 1e-3
    assert [trial["loss"] is None for trial in found["trials"]] == [True, False]
    told = "--rates 1000000000.0 0.001 --trial-tokens 96 --tokens 0 --step-tokens 48 --stream 0"
    told = f"reproduce language --row decoder --seed 0 {told} --data {ids.name} --device cpu --no-compile<"
    assert told in record_page(found)
    with pytest.raises(
        FloatingPointError, match=r"at one rate at least, got \[1000000000.0\]; try lower ones"
    ):
        language(small(ids, row="decoder", rates=(1e9,)), tmp_path)


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"test": Path("nowhere.u16")}, FileNotFoundError, "nowhere.u16 must be a file"),
        ({"test": Path("one.u16")}, ValueError, "must have at least 2 tokens, got 1; give a longer one"),
        ({"seed": -1}, ValueError, "seed must be from 0"),
    ],
)
def test_what_cannot_be_is_refused_before_any_training(ids, tmp_path, monkeypatch, fields, error, words):
    monkeypatch.chdir(tmp_path)
    Path("one.u16").write_bytes(b"\1\0")
    with pytest.raises(error, match=words):
        language(small(ids, row="decoder", **fields), "runs")
    assert not Path("runs").exists()


def test_rates_that_print_alike_are_tried_apart(ids, tmp_path):
    rates = (1e-3, 1.0000001e-3)
    found = language(small(ids, row="decoder", rates=rates, tokens=0, stream=0), tmp_path)
    assert [trial["rate"] for trial in found["trials"]] == list(rates)


@pytest.mark.parametrize("kept", [None, "", '{"event": "progress", "step": 2}\n'])
def test_a_log_that_was_lost_is_told_with_a_cure(ids, tmp_path, kept):
    config = small(ids, row="decoder", rates=(1e-3,), tokens=0, stream=0)
    language(config, tmp_path)
    log = tmp_path / "decoder-rate-0.001/metrics.jsonl"
    log.unlink() if kept is None else log.write_text(kept)
    with pytest.raises(ValueError, match=r"got one that says nothing of textcheck; remove that folder"):
        language(config, tmp_path)


def in_processes(count, *given):
    here = Path(__file__)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
    found = subprocess.run(
        [*command, str(here.with_name("together_language.py")), *map(str, given)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(here.parents[2] / "src")},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    lines = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    return [line["found"] for line in sorted(lines, key=lambda line: line["rank"])]


@pytest.mark.slow
def test_two_processes_train_together_and_the_first_one_measures(ids, tmp_path):
    (one,) = in_processes(1, ids, tmp_path / "one", 1e-2)
    two, none = in_processes(2, ids, tmp_path / "two", 1e-2)
    assert none is None
    assert (one["training"]["processes"], two["training"]["processes"]) == (1, 2)
    assert two["scores"][0]["loss"] == pytest.approx(one["scores"][0]["loss"], abs=1e-5)
    assert two["stream"]["tokens"] == one["stream"]["tokens"]
    assert json.loads((tmp_path / "two/decoder-0/results.json").read_text()) == two
    (again,) = in_processes(1, ids, tmp_path / "two", 1e-2)
    assert again["training"]["processes"] == 2
    for refusal in in_processes(2, ids, tmp_path / "rates"):
        assert "one process, got 2 and no rate" in refusal


def test_processes_that_cannot_share_an_update_are_told_of_another(ids, tmp_path, monkeypatch):
    monkeypatch.setattr("scannable.experiments._language.started", lambda: (0, 2))
    with pytest.raises(ValueError, match="got step_tokens=48 and 2 processes; set step_tokens to 32"):
        language(small(ids, row="gpt2", rate=1e-3), tmp_path)


def test_a_call_that_was_interrupted_after_training_loses_nothing(ids, tmp_path, monkeypatch):
    monkeypatch.setattr("scannable.experiments._language._scores", lambda *_: None)
    config = small(ids, row="gpt2", rates=(1e-3,), stream=0)
    first, again = (language(config, tmp_path / "runs") for _ in range(2))
    assert first["training"]["losses"]
    assert {**again["training"], "seconds": 0} == {**first["training"], "seconds": 0}
    assert again["trials"] == first["trials"]


def test_a_call_that_is_killed_goes_on_from_a_checkpoint_and_tells_no_peak(ids, tmp_path, monkeypatch):
    monkeypatch.setattr("scannable.experiments._language._scores", lambda *_: None)
    monkeypatch.setattr("scannable.experiments._language._peak", lambda _: 7)
    config = small(ids, row="gpt2", rate=1e-3, stream=0)
    whole = language(config, tmp_path / "whole")["training"]
    update, steps = Run._update, []

    def made(run):
        steps.append(run.step)
        if steps == [0, 1, 2]:
            raise ZeroDivisionError  # inside a step, where nothing is saved, as when killed
        update(run)

    monkeypatch.setattr(Run, "_update", made)
    clock = SimpleNamespace(monotonic=itertools.count(0, 301).__next__)
    monkeypatch.setattr("scannable.training._loop.time", clock)
    with pytest.raises(ZeroDivisionError):
        language(config, tmp_path / "killed")
    again = language(config, tmp_path / "killed")["training"]
    assert steps == [0, 1, 2, 2, 3]
    assert again["losses"] == whole["losses"]
    # Neither a call that made some of the steps nor one that made none knows what all took.
    repeated = language(config, tmp_path / "whole")["training"]
    assert [made["peak_bytes"] for made in (whole, again, repeated)] == [7, None, None]


def test_fresh_weights_are_those_a_run_begins_with_and_random_numbers_stay(ids, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("scannable.experiments._language.streamed", lambda model, *_: seen.append(model))
    config = small(ids, row="paper-64", rate=1e-3, tokens=0, seed=3)
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        language(config, tmp_path / "runs")
        assert torch.equal(torch.get_rng_state(), before)
    train = TextRunConfig(model=TINY["paper-64"], seed=3)
    for model in seen:
        for weight, expected in zip(model.parameters(), fresh_model(train).parameters(), strict=True):
            assert torch.equal(weight, expected)


def test_on_a_cpu_a_row_is_trained_in_float32(ids, tmp_path, monkeypatch):
    monkeypatch.setattr("scannable.experiments._language._scores", lambda *_: None)
    language(small(ids, row="gpt2", rate=1e-3, stream=0), tmp_path)
    assert load(tmp_path / "gpt2-0")[1].precision == "float32"


def test_a_stream_that_grows_is_timed_at_its_end(ids, tmp_path):
    found = language(small(ids, row="decoder", rate=1e-3, tokens=0, stream=40), tmp_path / "runs")
    assert found["training"] is found["scores"] is None
    assert (
        "a token of a long stream takes"
        in (tmp_path / "runs" / "decoder-0-stream" / "report.html").read_text()
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
    whole = tmp_path / "whole.json"
    whole.write_text(json.dumps(found | {"speeds": [bench]}))
    assert collect([whole]) == found | {"speeds": [bench]}
    for broken in ({"rows": 7}, {"trials": [None]}, {"streams": [{}]}):
        whole.write_text(json.dumps(found | broken))
        with pytest.raises(ValueError, match=r"whole\.json must be what .* printed, got a "):
            collect([whole])
    whole.write_text(json.dumps(found | {"speeds": [bench]}))
    with pytest.raises(ValueError, match="Records of speed must differ, got one twice"):
        collect([whole, files[-1]])
    assert main(["reproduce", "language", "--collect", str(files[-1])]) == 0
    assert "tokens/s" in capsys.readouterr().out
    assert main(["reproduce", "language", "--collect"]) == 2
    assert "--collect puts files together, got none" in " ".join(capsys.readouterr().err.split())
    assert main(["reproduce", "language", "--out", str(page)]) == 2
    assert "--out is where --collect writes its page" in " ".join(
        capsys.readouterr().err.replace("│", " ").split()
    )
    with pytest.raises(ValueError, match=r"one row and seed each, got two of \[\('decoder', 0\)\]"):
        collect([*files, files[0]])


def test_an_unknown_row_is_refused():
    with pytest.raises(ValueError, match=r"row must be one of \['paper-32'.*got 'lstm'"):
        LanguageConfig(row="lstm")


@pytest.fixture(scope="module")
def record(ids, tmp_path_factory):
    """What a row's call printed, its stream of 30 tokens after a chunk of 4."""
    return language(small(ids, row="paper-64", rate=1e-2), tmp_path_factory.mktemp("run"))


def test_a_stream_timed_alone_counts_if_it_is_as_long_as_the_rows_own(record, tmp_path):
    def table(alone):
        files = [tmp_path / "row.json", tmp_path / "stream.json"]
        for path, content in zip(files, (record, alone), strict=True):
            path.write_text(json.dumps(content))
        found = collect(files)
        return language_table(found, 16)[0]["stream"], len(found["streams"])

    alone = record | {"scores": None, "training": None, "stream": record["stream"] | {"median": 7.0}}
    assert table(alone) == (alone["stream"], 1)
    longer = alone | {"stream": alone["stream"] | {"tokens": 31}}
    assert table(longer) == (longer["stream"], 1)
    shorter = alone | {"stream": alone["stream"] | {"tokens": 29}}
    assert table(shorter) == (record["stream"], 0)
    other = shorter | {"row": "decoder"}
    assert table(other) == (record["stream"], 1)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_of_streams_of_several_seeds_all_are_kept_and_the_first_is_shown(record, tmp_path, order):
    def alone(seed):
        stream = record["stream"] | {"median": 7.0 + seed}
        return record | {"seed": seed, "scores": None, "training": None, "stream": stream}

    contents = [record, *(alone(seed) for seed in order)]
    files = [tmp_path / f"{place}.json" for place in range(len(contents))]
    for path, content in zip(files, contents, strict=True):
        path.write_text(json.dumps(content))
    found = collect(files)
    assert [(one["seed"], one["stream"]["median"]) for one in found["streams"]] == [
        (0, 7.0),
        (1, 8.0),
        (2, 9.0),
    ]
    (line,) = language_table(found, 16)
    assert line["stream"]["median"] == 7.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "demo"}, "a record of kind 'demo'"),
        ({"bench": "scan"}, "a record of bench 'scan'"),
        ({"row": "lstm"}, "a record of row 'lstm', which is not in the table"),
        ({"row": []}, "a record of row '[]', which is not in the table"),
        ({"seed": "x"}, "a record of seed 'x'"),
        ({"scores": None, "stream": None}, "a record of a call that measured nothing"),
        ({"training": {}}, "a record with something missing or of another form"),
        ({"scores": [1]}, "a record with something missing or of another form"),
        ({"stream": {"tokens": 3}}, "a record with something missing or of another form"),
    ],
)
def test_a_file_that_the_table_cannot_hold_is_told_in_words(record, tmp_path, capsys, change, said):
    path = tmp_path / "row.json"
    path.write_text(json.dumps(record | change))
    assert main(["reproduce", "language", "--collect", str(path)]) == 1
    assert capsys.readouterr().err == (
        f"scannable: {path} must be what scannable reproduce language --json or scannable bench language --json "
        f"printed, got {said}; leave it out.\n"
    )


def test_figures_that_are_too_large_are_a_dash(record, tmp_path, capsys):
    path, broken = tmp_path / "row.json", json.loads(json.dumps(record))
    for score in broken["scores"]:
        score.update(perplexity=None, word_perplexity=None, interval=[3.0, None])
    path.write_text(json.dumps(broken | {"trials": [{"rate": 1.0, "loss": None}]}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce, "LANGUAGE_PEERS", {16: "decoder"})
        assert main(["reproduce", "language", "--collect", str(path)]) == 0
    assert "3.00 to -" in capsys.readouterr().out


@pytest.mark.parametrize("terms", [{"tokens": 7}, {"bytes": 7}])
def test_only_what_read_and_was_scored_on_the_same_is_compared(record, terms):
    """A PSM under the decoder's name, beside itself."""
    peer = record | {"row": "decoder"}
    assert language_table({"rows": [peer, record]}, 16)[1]["ratio"] == 1
    scores = [score | terms for score in record["scores"]]
    assert language_table({"rows": [peer, record | {"scores": scores}]}, 16)[1]["ratio"] is None
    short = record["training"] | {"tokens": 48}
    assert language_table({"rows": [peer, record | {"training": short}]}, 16)[1]["ratio"] is None


def test_a_file_that_is_no_record_is_told_by_its_name_once(tmp_path, capsys):
    path = tmp_path / "row.json"
    for content in ("[]", "{", None):
        path.unlink(missing_ok=True) if content is None else path.write_text(content)
        assert main(["reproduce", "language", "--collect", str(path)]) == 1
        said = capsys.readouterr().err
        assert said.count(str(path)) == 1
        assert "Error(" not in said


def test_a_page_in_a_folder_that_is_not_there_is_refused_with_the_cure(record, tmp_path, capsys):
    path, missing = tmp_path / "row.json", tmp_path / "missing"
    path.write_text(json.dumps(record))
    command = ["reproduce", "language", "--collect", str(path), "--out"]
    assert main([*command, str(missing / "page.html")]) == 1
    said = capsys.readouterr().err
    assert (
        f"--out must be a file in a folder that is there, got {missing / 'page.html'}; make the folder"
        in said
    )
    assert main([*command, str(tmp_path)]) == 1
    other = capsys.readouterr().err
    assert f"--out must be a file, got the folder {tmp_path}; name a file in it." in other
    assert ".partial" not in said + other


def test_a_call_that_only_timed_a_stream_says_what_it_took(ids, tmp_path, capsys):
    words = f"reproduce language --row paper-64 --data {ids} --rate 1e-3 --tokens 0 --stream 30 --device cpu"
    assert main([*words.split(), "--step-tokens", "16", "--folder", str(tmp_path / "runs")]) == 0
    assert "30 tokens of one stream, after 4 others: median" in capsys.readouterr().out


def test_memory_that_is_not_known_is_not_told(ids, tmp_path, capsys, monkeypatch):
    words = f"reproduce language --row gpt2 --data {ids} --rate 1e-3 --tokens 16 --stream 0 --device cpu"
    words = [*words.split(), "--step-tokens", "16", "--no-compile", "--folder", str(tmp_path / "runs")]
    for peak, said in ((None, "tokens/s\n\n"), (2_000_000, "tokens/s, 2 MB at most\n\n")):
        monkeypatch.setattr("scannable.experiments._language._peak", lambda _, peak=peak: peak)
        assert main([*words, "--seed", str(peak or 0)]) == 0
        assert said in capsys.readouterr().out


def test_streams_of_two_seeds_lie_side_by_side(ids):
    for fields, kind in (({}, ""), ({"tokens": 0}, "-trials"), ({"tokens": 0, "rate": 1e-3}, "-stream")):
        assert small(ids, row="gpt2", seed=7, **fields).name == f"gpt2-7{kind}"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"step_tokens": 100},
            "a multiple of the 16 tokens that gpt2 reads at once, got 100; set step_tokens to 96",
        ),
        ({"step_tokens": 9}, "got 9; set step_tokens to 16"),
        ({"rates": ()}, r"Learning rates must be .* one at least, got rates=\[\]"),
        ({"rates": (1e-3, -1.0)}, r"above zero, .* got rates=\[0.001, -1.0\]"),
        ({"rate": 0.0}, "above zero, .* got rate=0.0"),
        ({"rate": float("nan")}, "finite numbers above zero, .* got rate=nan"),
        ({"device": "foo"}, "device must be a name that torch knows"),
    ],
)
def test_a_call_that_could_not_be_reported_truly_is_refused(ids, fields, said):
    with pytest.raises(ValueError, match=said):
        small(ids, row="gpt2", **fields)


def test_all_rows_take_the_tokens_of_an_update_as_they_are():
    assert all(LanguageConfig(row=row).step_tokens == 65_536 for row in LANGUAGE_ROWS)


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


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_there_is_refused_before_anything_is_timed():
    with pytest.raises(ValueError, match="which has 0 CUDA devices, got 'cuda'; use cpu"):
        bench_language(speeds(device="cuda"))


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
