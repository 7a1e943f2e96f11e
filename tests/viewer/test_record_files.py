"""Records as anybody may hand them in: refused if they are none, and shown on every screen and in a notebook."""

from pathlib import Path

import pytest
import torch

import scannable as sc
from agreement import refused
from scannable.tasks import WordProblem
from scannable.training import pretrained
from scannable.viewer import _json as module
from scannable.viewer import read_record, record_page
from scannable.viewer._record import PAGES
from scannable.viewer.inside._file import KIND
from viewer import records
from viewer.records import COMMITTED, MADE_UP, RESULTS
from viewer.traces import words


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, r"of a kind in \['demo', 's5', 'language', 'language-table', 'words'.*\], got no kind"),
        ({"kind": "family", "format": 1}, "got 'family'"),
        ({"kind": ["demo"], "format": 1}, r"got \['demo'\]"),
        ({"kind": "s5", "format": 2}, "must have format 1, got 2"),
        ({"kind": "s5", "format": 1}, r"cannot be drawn \(KeyError: 'variants'\)"),
        (records.row("\ud800"), "cannot be drawn .UnicodeEncodeError"),
        ({"kind": "words", "format": 1}, "The trace must be an object with format, kind, title"),
    ],
)
def test_what_is_no_record_is_refused(record, message):
    with refused(ValueError, message):
        record_page(record)
    with refused(TypeError, "must be a dictionary, got list"):
        record_page([record])


@pytest.mark.parametrize("bench", ["scan", "affine", "family", "language-speed-512"])
def test_measurements_without_a_page_are_refused_by_the_name_of_their_file_with_a_cure_that_fits(bench):
    path = RESULTS / f"{bench}.json"
    with pytest.raises(ValueError, match="got no kind, as in the measurements of a bench") as refusal:
        sc.view(path)
    assert str(refusal.value).startswith(f"{path}: A record with a page must be of a kind in ['demo', ")
    assert str(refusal.value).endswith(
        "give results.json of a demo or a reproduction, or a trace, since other measurements have no page."
    )


@pytest.mark.parametrize("content", ['{"kind": "s5", "format": 2}', "[1]", "null"])
def test_what_a_file_or_a_folder_holds_is_refused_by_the_name_of_the_file(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content)
    for given in (path, tmp_path):
        with pytest.raises(ValueError, match=r"results\.json: A record must ") as refusal:
            sc.view(given)
        assert str(refusal.value).startswith(f"{path}: ")


def test_no_record_is_called_as_a_trace_is():
    assert len(PAGES) == 4 + len(KIND)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be JSON, got Expecting value"),
        (b'{"kind": "demo", "format"', "must be JSON"),
        (b"\xff\xfe\x00", "must be JSON"),
        (b'{"kind": NaN}', "got the number NaN"),
        (b'{"kind": -1e999}', "got the number -1e999"),
        (b"[" * 100_000, "must be JSON"),
    ],
)
def test_a_file_that_is_not_json_is_refused_by_its_name(tmp_path, content, message):
    path = tmp_path / "found.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refusal:
        read_record(path)
    assert str(refusal.value).startswith(f"{path}: A record ")


def test_a_file_too_large_is_refused_before_it_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BYTES", 100)
    path = tmp_path / "found.json"
    path.write_bytes(b'"' + b"x" * 100)
    with pytest.raises(ValueError, match="may have 100 bytes, got more; give a smaller one"):
        read_record(path)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"results\.json must be a JSON file, got none there"):
        sc.view(tmp_path)


def test_view_shows_a_record_a_file_a_folder_and_a_model():
    record = COMMITTED["demo"]
    assert sc.view(record).html == sc.view(RESULTS / "demo.json").html == record_page(record)
    model, config = pretrained("s5")
    task = WordProblem(config.task)
    tokens = task.batch(1, 14, torch.Generator().manual_seed(2)).tokens[0]
    assert sc.view(model, tokens, reads=task, title="a run").html == record_page(words(14, title="a run"))
    with pytest.raises(TypeError, match="got TransformerPSM alone; give a model the tokens"):
        sc.view(model)
    with pytest.raises(TypeError, match="A trace needs a prefix-scannable model"):
        sc.view(record, tokens)


@pytest.mark.parametrize("name", ["demo", "s5-seed0", "a row", "a table"])
def test_reports_are_accessible_fit_every_screen_and_ask_nobody(browser, tmp_path, name):
    from axe_playwright_python.sync_playwright import Axe

    path = sc.view({**COMMITTED, **MADE_UP}[name]).save(tmp_path / "report.html")
    context = browser.new_context(color_scheme="dark", viewport={"width": 390, "height": 900})
    tab, heard = context.new_page(), []
    tab.on("request", lambda request: heard.append(request.url))
    tab.on("console", lambda message: heard.append(message.text))
    tab.goto(path.as_uri())
    assert {found["id"] for found in Axe().run(tab).response["violations"]} == set()
    for width in (390, 1024, 1920):
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
    assert [entry for entry in heard if not entry.startswith(("file://", "data:"))] == []


def test_in_a_notebook_the_page_is_shown_in_a_frame_that_can_save_files(browser):
    context = browser.new_context(accept_downloads=True, viewport={"width": 1100, "height": 1000})
    tab = context.new_page()
    tab.set_default_timeout(30_000)
    tab.set_content(f"<body>{sc.view(words(14))._repr_html_()}</body>")
    frame = tab.frame_locator("iframe")
    for key, begin in (("svg", b"<svg"), ("png", b"\x89PNG")):
        with tab.expect_download() as started:
            frame.locator(f"#{key}").click()
        assert Path(started.value.path()).read_bytes().lstrip().startswith(begin)
        assert started.value.suggested_filename == f"scannable-trace.{key}"
    # Nothing in it reaches the notebook.
    assert (
        frame.locator("body").evaluate("() => { try { return parent.document.title } catch { return null } }")
        is None
    )
    context.close()
