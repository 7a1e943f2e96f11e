"""The demo trains, measures, writes one page that needs nothing else, and repeats nothing that is done."""

import json
from html.parser import HTMLParser

import pytest

from scannable.cli._demo import show
from scannable.cli._terminal import Terminal
from scannable.experiments import DemoConfig, MeasureConfig, demo
from scannable.models import DecoderConfig, TransformerPSMConfig
from scannable.tasks import WordProblemConfig
from scannable.training import CurriculumConfig, OptimiserConfig, WordRunConfig


def small(**measure):
    common = {
        "task": WordProblemConfig(group="C2", longest=2),
        "curriculum": CurriculumConfig(stages=(), every=3, words=8),
        "optimiser": OptimiserConfig(warmup=1),
        "steps": 6,
        "tokens": 32,
        "log_every": 2,
    }
    psm = TransformerPSMConfig(width=8, heads=2, chunk=1, inference_layers=1, shared=True, codebook="tied")
    decoder = DecoderConfig(width=8, heads=2, layers=1, positions="rotary")
    sizes = {"multiples": (1, 4), "between": (2.0,), "sequences": 4, "piece": 3, "allowed": 1.0}
    return DemoConfig(
        psm=WordRunConfig(model=psm, **common),
        decoder=WordRunConfig(model=decoder, **common),
        measure=MeasureConfig(**sizes | measure),
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "demo"
    steps = []
    return demo(small(), folder, steps.append), folder, steps


def test_both_models_are_measured_in_both_forms_at_every_length(done):
    record, _, _ = done
    asked = {(row["model"], row["form"], row["length"]) for row in record["evaluations"]}
    assert len(asked) == 2 * 2 * 3
    assert record["lengths"]["compared"] == [2, 8]
    assert record["final_errors"]["psm parallel"] == record["final_errors"]["psm streaming"]


def test_the_record_is_json_and_stands_in_the_folder(done):
    record, folder, _ = done
    assert json.loads((folder / "results.json").read_text()) == json.loads(json.dumps(record))
    assert record["passed"] == (record["right"] and record["one_function"])


def test_progress_goes_from_nothing_to_all(done):
    _, _, steps = done
    assert steps[0].done == 0
    assert steps[-1].done == 1
    assert steps[-1].left == 0


class Page(HTMLParser):
    """Notes what a page asks for, and whether its tags are closed."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.links = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_is_well_formed(done):
    _, folder, _ = done
    text = (folder / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert not page.open
    assert page.links == ["data:,"]  # an icon, so that no browser asks for one
    assert "script" not in page.tags
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert page.tags.count("svg") == 6
    assert "prefers-color-scheme: dark" in text


def test_a_second_run_repeats_nothing(done, monkeypatch):
    record, folder, _ = done
    import scannable.experiments._demo as module

    for name in ("duality", "evaluated", "streamed"):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("measured again"))
    again = demo(small(), folder)
    assert again["evaluations"] == record["evaluations"]


def test_other_measurements_are_made_again_but_nothing_is_trained(done):
    record, folder, _ = done
    other = demo(small(sequences=5), folder)
    assert other["evaluations"][0]["sequences"] == 5
    assert other["runs"]["psm"]["history"] == record["runs"]["psm"]["history"]


def test_a_psm_that_is_wrong_too_often_fails_and_says_so(done, capsys):
    _, folder, _ = done
    config = small(allowed=-1.0)
    assert not show(config, folder, Terminal())
    assert "must be wrong in at most" in " ".join(capsys.readouterr().out.split())
    assert "is wrong in" in (folder / "report.html").read_text()


def test_measurements_of_nothing_are_refused():
    with pytest.raises(ValueError, match="must be at least 1, got multiples"):
        MeasureConfig(multiples=())
    for change in ({"between": (float("inf"),)}, {"between": (-2.0,)}, {"allowed": float("nan")}):
        with pytest.raises(
            ValueError, match="between must be finite and above zero, and allowed finite, got"
        ):
            MeasureConfig(**change)
