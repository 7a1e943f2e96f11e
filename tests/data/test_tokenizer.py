"""Tokenizers: what GPT-2's own would give, exact round trips, streams, and text of any size."""

import builtins

import numpy as np
import pytest
import tiktoken
from hypothesis import example, given
from hypothesis import strategies as st

from agreement import refused
from scannable.data import TOKENIZERS, _gpt2, tokenizer

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \n\t\r\x1c\u3000'stab1.,é中😀<|>"),
    max_size=60,
)


def decoded(name, ids):
    decoder = tokenizer(name).decoder()
    return "".join([decoder.push(int(token)) for token in ids] + [decoder.finish()])


def test_known_ids_come_out():
    gpt2 = tokenizer("gpt2")
    assert gpt2.encode("Hello world").tolist() == [15496, 995]
    assert gpt2.encode(" = Title = \n").tolist()[-3:] == [796, 220, 198]
    assert (gpt2.vocabulary, gpt2.separator) == (50_257, 50_256)
    assert tokenizer("bytes").encode("é\n").tolist() == [0xC3, 0xA9, 10]
    assert (tokenizer("bytes").vocabulary, tokenizer("bytes").separator) == (256, None)


def test_every_id_has_bytes_of_its_own():
    tokens = tokenizer("gpt2").tokens
    assert len(set(tokens)) == len(tokens)
    assert {bytes([byte]) for byte in range(256)} <= set(tokens)
    assert tokens[220] == b" "
    assert tokens[198] == b"\n"


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=TEXTS)
@example("")
@example("a<|endoftext|>b")
@example("\ufeff \u200d👩‍👩‍👧\u0301 ½\x85\x00")
def test_text_comes_back_whole(name, text):
    """All at once, as a stream, and by the count of its bytes."""
    codec = tokenizer(name)
    ids = codec.encode(text)
    assert ids.dtype == np.uint16
    assert codec.decode(ids) == text == decoded(name, ids)
    assert codec.lengths(ids).sum() == len(text.encode())


@given(ids=st.lists(st.integers(0, 255), max_size=12))
@example([0xE4, 0xB8])
@example([0xE4, 0xB8, 0x41])
@example([0xF0, 0x9F, 0x98])
def test_bytes_that_are_not_utf8_are_replaced_alike_in_a_stream(ids):
    assert decoded("bytes", ids) == tokenizer("bytes").decode(np.array(ids, np.int64))


def test_a_stream_holds_a_character_back_until_it_is_whole():
    decoder = tokenizer("bytes").decoder()
    assert [decoder.push(byte) for byte in "😀!".encode()] == ["", "", "", "😀", "!"]
    assert decoder.push(0xF0) == ""
    assert decoder.finish() == "\ufffd"


def test_the_separator_in_a_text_is_ordinary_text():
    gpt2 = tokenizer("gpt2")
    ids = gpt2.encode("a<|endoftext|>b")
    assert gpt2.separator not in ids
    assert gpt2.decode(np.array([gpt2.separator])) == "<|endoftext|>"


@given(text=TEXTS)
@example("x \n \n  y\t\t1\u30002")
def test_words_are_split_as_gpt2_splits_them_and_pieces_join(text):
    """GPT-2's own pattern over the whole text, against ours over pieces cut wherever the rule allows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_gpt2, "PIECE", 3)
        assert tokenizer("gpt2").encode(text).tolist() == published().encode_ordinary(text)


def test_cutting_anywhere_would_be_caught():
    text = "a long  word \n \n of letters"
    cut = [*published().encode_ordinary(text[:8]), *published().encode_ordinary(text[8:])]
    assert cut != tokenizer("gpt2").encode(text).tolist()


def test_a_small_vocabulary_is_the_beginning_of_the_large_one():
    small, large = tokenizer("gpt2-4096"), tokenizer("gpt2")
    assert (small.vocabulary, small.separator) == (4096, 4095)
    assert small.tokens[:-1] == large.tokens[:4095]
    text = " The city of Zürich lies at 408 metres .\n"
    assert small.decode(small.encode(text)) == text
    assert len(large.encode(text)) < len(small.encode(text)) < len(text)


def published():
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    ranks = {token: number for number, token in enumerate(_gpt2.tokens()[:-1])}
    if not hasattr(published, "encoding"):
        published.encoding = tiktoken.Encoding(
            "published", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}
        )
    return published.encoding


@pytest.mark.parametrize("letter", ["a", "é", " ", "\n", "."])
def test_long_runs_are_encoded(letter):
    text = 300_000 * letter
    assert tokenizer("gpt2").decode(tokenizer("gpt2").encode(text)) == text


def test_a_run_of_white_space_without_end_is_refused():
    with refused(ValueError, "must not have a million characters of white space in a row, got 1,200,000"):
        tokenizer("gpt2").encode("a" + 1_200_000 * " " + "b")


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_prompt_in_another_encoding_is_refused(name):
    prompt = b"caf\xe9".decode("utf-8", "surrogateescape")
    with refused(ValueError, r"well-formed Unicode, got '\\udce9' as character 3.*UTF-8"):
        tokenizer(name).encode(prompt)


def test_an_unknown_tokenizer_is_refused_with_the_list():
    with refused(ValueError, r"one of \('gpt2', 'gpt2-4096', 'bytes'\), got 'gpt4'"):
        tokenizer("gpt4")


def test_ids_are_decoded_without_tiktoken(monkeypatch):
    """Training from ids needs no library for the vocabulary."""
    load = builtins.__import__

    def refuse(name, *rest):
        assert not name.startswith("tiktoken")
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    _gpt2._encoding.cache_clear()
    assert tokenizer("gpt2").decode(np.array([15496, 995])) == "Hello world"
    with pytest.raises(AssertionError):
        tokenizer("gpt2").encode("Hello")
