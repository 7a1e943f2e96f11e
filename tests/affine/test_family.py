"""The table of the family."""

import importlib
import inspect
import io
import tokenize
from pathlib import Path

import pytest

from scannable.affine import ROWS, Action, Layer, family

TEN = [
    *("linear-attention", "deltanet", "gated-deltanet", "retnet", "mamba2", "mlstm"),
    *("gated-rfa", "s4", "s6", "mamba", "gla"),
]


def test_the_rows_of_the_paper_come_first():
    names = [row.name for row in family()]
    assert names[: len(TEN)] == TEN
    assert names[len(TEN) :] == ["rwkv6", "hgrn2", "kda", "deltaproduct"]
    assert names == list(ROWS)


def test_names_and_titles_are_unique():
    for field in ("name", "title"):
        values = [getattr(row, field) for row in family()]
        assert len(set(values)) == len(values)


@pytest.mark.parametrize("row", family(), ids=lambda row: row.name)
def test_a_line_of_the_table_can_be_printed_anywhere(row):
    assert issubclass(row.action, Action)
    for field in (row.name, row.title, row.element, row.shift, row.read, row.reference):
        assert field
        assert field.isascii()
    assert "arXiv" in row.reference


@pytest.mark.parametrize("layer", ROWS.values(), ids=ROWS)
def test_a_row_is_a_layer_that_is_exported_by_name(layer):
    assert issubclass(layer, Layer)
    package = importlib.import_module("scannable.affine")
    assert getattr(package, layer.__name__) is layer
    assert layer.__name__ in package.__all__
    assert next(iter(inspect.signature(layer).parameters)) == "width"


@pytest.mark.parametrize("layer", ROWS.values(), ids=ROWS)
def test_a_row_is_at_most_eighty_lines_of_code(layer):
    source = Path(inspect.getsourcefile(layer)).read_text(encoding="utf-8")
    blank = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines, begins = set(), True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in blank and not (token.type == tokenize.STRING and begins):
            lines |= set(range(token.start[0], token.end[0] + 1))
        begins = token.type in blank
    assert len(lines) <= 80
