"""The bracketed text of the intro is the definition's, and the tree is drawn from it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scannable.cli._brackets import LONGEST, Brackets, bracketings, decode, encode, tree_lines
from scannable.scans import reference


@given(st.text(alphabet="abcdefgé→", min_size=1, max_size=LONGEST))
def test_both_forms_write_the_definition(text):
    leaves = encode(text, 3 * len(text))[None]
    for prefix in bracketings(text):
        (defined,) = decode(reference.prefix_state(Brackets(), leaves, prefix.count))
        assert prefix.parallel == prefix.streaming == defined
        assert prefix.equal
        assert len(prefix.roots) == prefix.count.bit_count()


def test_six_characters_are_bracketed_as_four_and_two():
    last = bracketings("prefix")[-1]
    assert last.parallel == "(((pr)(ef))(ix))"
    assert last.roots == ("((pr)(ef))", "(ix)")


def test_a_wrong_bracket_is_seen(monkeypatch):
    flat = lambda self, left, right: encode(  # noqa: E731
        [
            f"{a}({b})" if len(left) > 1 else f"({a}{b})"
            for a, b in zip(decode(left), decode(right), strict=True)
        ],
        left.shape[1],
    )
    monkeypatch.setattr(Brackets, "combine", flat)
    assert not all(prefix.equal for prefix in bracketings("prefix"))


def test_the_tree_is_drawn_with_its_leaves_above():
    assert tree_lines("((ab)c)") == ["a   b   c", "└─┬─┘   │", "  └──┬──┘"]
    assert tree_lines("a") == ["a"]


@pytest.mark.parametrize("text", ["", "x" * (LONGEST + 1), "a)b"])
def test_a_text_that_cannot_be_drawn_is_refused(text):
    with pytest.raises(ValueError, match="text must have 1 to 12 characters"):
        bracketings(text)


def test_the_identity_is_the_empty_text():
    assert decode(Brackets().identity(torch.ones(1, 4, dtype=torch.int64))) == [""]
