"""Every record is drawn as the page of its kind, which says what the record says; what is no record is refused."""

import copy
import re
from html import unescape

import pytest

from scannable.experiments import language_table
from scannable.viewer import record_page
from viewer import records
from viewer.records import COMMITTED, MADE_UP

EVIL = "</title></style><script>document.title='taken'</script>\"'"


def numbers(value):
    """All numbers of a record; of a table of language models also what is made of several of its rows."""
    if isinstance(value, dict):
        if value.get("kind") == "language-table":
            yield from (
                x for length in (512, 8192) for line in language_table(value, length) for x in numbers(line)
            )
        yield from (x for entry in value.values() for x in numbers(entry))
        yield from (float(key) for key in value if key.isdecimal())
    elif isinstance(value, list | tuple):
        yield from (x for entry in value for x in numbers(entry))
    elif isinstance(value, int | float):
        yield float(value)


def texts(value):
    if isinstance(value, dict | list | tuple):
        yield from (
            x for entry in (value.values() if isinstance(value, dict) else value) for x in texts(entry)
        )
    else:
        yield str(value)


NUMBER = re.compile(r"(?<![\w.-])(-?[\d,]*\d\.?\d*(?:e[-+]\d+)?)(?![\w.]) ?(%|[KMG]?B\b|ms\b)?")
MINUTES = re.compile(r"(\d+) min (\d+) s")
FACTORS = {"%": (100,), "B": (1,), "KB": (1e-3,), "MB": (1e-6,), "GB": (1e-9,), "ms": (1e3,), None: (1, 1e3)}


def invented(page, record):
    """The figures in the tables of a page that its record does not hold, as far as they are rounded."""
    known, said = sorted(set(numbers(record))), set(texts(record))
    cells = [unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", page)]
    assert cells
    found = []
    for cell in cells:
        if cell in said:
            continue
        plain = MINUTES.sub(lambda m: str(60 * int(m[1]) + int(m[2])), cell)
        for figure, unit in NUMBER.findall(plain):
            mantissa, _, power = figure.partition("e")
            room = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
            room = room if MINUTES.search(cell) else 0.501 * room
            wanted = float(figure.replace(",", ""))
            if not any(abs(x * by - wanted) <= room for x in known for by in FACTORS[unit or None]):
                found.append(cell)
    return found


@pytest.mark.parametrize("name", [*COMMITTED, *MADE_UP])
def test_every_figure_in_the_tables_is_in_the_record(name):
    record = {**COMMITTED, **MADE_UP}[name]
    assert invented(record_page(record), record) == []


def test_there_are_records_of_demo_reproductions_and_table():
    assert {record["kind"] for record in COMMITTED.values()} == {"demo", "s5", "language-table"}


def change(record, path, value):
    """A copy of a record with another value at a place."""
    changed = copy.deepcopy(record)
    *way, last = path
    place = changed
    for key in way:
        place = place[key]
    place[last] = value
    return changed


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("demo", ("duality", "table", 0, "float32"), 0.0077),
        ("demo", ("runs", "decoder", "parameters"), 987_654),
        ("s5-seed0", ("variants", 2, "products", "margin"), 77.77),
        ("s5-seed0", ("variants", 0, "stream", "stream_bytes"), 98_765),
        ("language", ("trials", 3, "trials", 0, "loss"), 7.1234),
        ("a row", ("scores", 0, "perplexity"), 77.777),
        ("a row", ("stream", "p999"), 0.777),
        ("a table", ("rows", 2, "training", "parameters"), 987_654),
    ],
)
def test_the_check_of_figures_sees_a_page_of_another_record(name, path, value):
    record = {**COMMITTED, **MADE_UP}[name]
    other = change(record, path, value)
    page = record_page(other)
    assert invented(page, other) == []
    assert invented(page, record)


def test_headlines_say_what_the_figures_say():
    s5 = COMMITTED["s5-seed0"]
    title = re.compile(r"<h1>(.*?)</h1>")

    def headline(record):
        return title.search(record_page(record))[1]

    assert "has all 14,400 products right" in headline(s5)
    assert "without an error" in headline(s5)
    wrong = change(s5, ("variants", 0, "products", "wrong_merges"), 3)
    assert "all but 3 answers and merges" in headline(change(wrong, ("variants", 0, "stream", "error"), 2e-6))
    assert "with 2 errors" in headline(change(wrong, ("variants", 0, "stream", "error"), 2e-6))
    demo = COMMITTED["demo"]
    assert "without one error" in headline(demo)
    assert "is wrong in 25 % of words" in headline(
        change(demo, ("final_errors", "psm streaming"), 0.25) | {"right": False}
    )
    assert "not one function" in record_page(
        change(demo, ("duality", "passed"), False) | {"one_function": False}
    )
    only = records.several() | {"rows": [], "streams": [], "speeds": []}
    assert "tried for 1 language models; none was trained in full" in headline(only)
    assert "decoder has the lowest perplexity" in headline(records.several())
    one = records.several() | {"rows": [records.row()]}
    assert "paper-64: a perplexity of 27.39, 512 tokens at once" in headline(one)


def test_a_command_on_a_page_runs_nothing_that_a_record_brings():
    page = record_page(records.row(config=records.row()["config"] | {"data": "x; rm y"}))
    assert "--data &#x27;x; rm y&#x27;" in page


def test_a_page_says_what_share_of_tokens_read_a_merged_state():
    assert "75 % of the tokens read a state that a merge has gone into" in record_page(records.row())
    assert "No token reads a state that a merge has gone into" in record_page(records.row(chunk=256))
    assert "no chunks, so nothing is merged" in record_page(records.row("decoder", chunk=None))
    assert "No token of paper-256 or cross-256 reads a merged state" in record_page(records.several())


@pytest.mark.parametrize(
    "missing", [("trials",), ("stream",), ("training", "scores"), ("training", "scores", "trials")]
)
def test_what_was_not_measured_is_left_out(missing):
    names = {
        "trials": "Learning rates",
        "stream": "A stream",
        "training": "Training",
        "scores": "How well it predicts",
    }
    page = record_page(records.row(**dict.fromkeys(missing)))
    assert {name for name in names if f"<h2>{names[name]}</h2>" not in page} == set(missing)


def places(value, path=()):
    """Where values stand in a record: in lists in the first entry."""
    yield path
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from places(entry, (*path, key))
    elif isinstance(value, list | tuple) and value:
        yield from places(value[0], (*path, 0))


def outcome(record):
    """The page of a record, or the message that refuses it."""
    try:
        return "drawn", record_page(record)
    except ValueError as error:
        return "refused", str(error)


@pytest.mark.parametrize("value", [EVIL, None, [], -1])
@pytest.mark.parametrize("name", ["demo", "s5-seed0", "a row", "a table"])
def test_whatever_stands_in_a_record_is_shown_as_text_or_refused(name, value):
    record = {**COMMITTED, **MADE_UP}[name]
    if name == "a table":
        record = record | {"rows": record["rows"][:1]}
    found = {
        outcome(change(record, path, value)) for path in places(record) if path and "config" not in path[:-1]
    }
    assert {how for how, _ in found} == {"drawn", "refused"}
    for how, text in found:
        if how == "drawn":
            assert "<script" not in text
        else:
            assert text.startswith("A record")
            assert text.endswith(
                ("give a file that scannable wrote, as it was.", "measurements have no page.")
            )
