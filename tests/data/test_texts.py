"""What figures are divided by: tokens, bytes and words, and the hash that names a text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agreement import refused
from scannable.data import TOKENIZERS, Text, _texts, tokenizer


def text_of(words, name="gpt2", starts=(0,)):
    return Text(ids=tokenizer(name).encode(words), starts=np.array(starts, np.int64), tokenizer=name)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(words=st.text("ab é.\n\t 中", min_size=1, max_size=40))
def test_words_and_line_ends_are_counted_as_wikitext_counts(name, words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_texts, "_PIECE", 3)
        text = text_of(words, name)
        assert text.words == len(words.encode().split()) + words.count("\n")
        assert text.bytes == len(words.encode())


def test_articles_are_the_ids_between_starts():
    text = text_of("abcdef", "bytes", [0, 1, 4])
    assert [tokenizer("bytes").decode(ids) for ids in text.articles] == ["a", "bcd", "ef"]


def test_the_fingerprint_is_of_the_ids():
    assert text_of("Hello world").fingerprint == text_of("Hello world").fingerprint == "8b0afc49bdba77a6"
    assert text_of("Hello world").fingerprint != text_of("Hello worlds").fingerprint


def test_a_text_cannot_be_changed():
    ids = np.arange(3, dtype=np.uint16)
    text = Text(ids=ids, starts=np.zeros(1, np.int64), tokenizer="bytes")
    with pytest.raises(ValueError, match="read-only"):
        text.ids[0] = 1
    ids[0] = 1  # the caller's array is still the caller's


def test_a_text_without_tokens_or_with_wrong_starts_is_refused():
    with refused(ValueError, "at least one token, got none"):
        text_of("")
    for starts in ([], [1], [0, 0], [0, 2, 1], [0, 3]):
        with refused(ValueError, "Articles must begin at 0 and then at rising places below 3"):
            text_of("abc", "bytes", starts)
