"""Where articles begin: WikiText's titles and separators, alike for both tokenizers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scannable.data import TOKENIZERS, _articles, tokenizer
from scannable.data._articles import article_starts

BODY = " \n Some words , with a 3 @-@ day mark . \n Another line . \n \n = = Section = = \n \n More . \n"


def wikitext(*titles):
    return [f" \n = {title} = \n{BODY}" for title in titles]


def found(name, text):
    """Return the text cut where articles begin."""
    ids = tokenizer(name).encode(text)
    starts = article_starts(ids, tokenizer(name))
    assert starts[0] == 0
    assert starts.dtype == np.int64
    return [tokenizer(name).decode(part) for part in np.split(ids, starts[1:])]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("blank", ["\n", "\n\n \n"])
def test_white_space_before_the_first_article_is_a_part_of_it(name, blank):
    for first, second in (wikitext("First", "Second"), ["<|endoftext|>\nOne.\n", "<|endoftext|>\nTwo.\n"]):
        assert found(name, blank + first + second) == [blank + first, second]
    assert found(name, "." + blank + wikitext("First")[0])[0] == "." + blank


@pytest.mark.parametrize("name", TOKENIZERS)
def test_lines_may_end_as_on_windows(name):
    articles = [one.replace("\n", "\r\n") for one in wikitext("First", "2 + 2 = 4", "É , ( 中 ) ' s")]
    assert found(name, "".join(articles)) == articles


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("end", ["", " \n", " \n \n"])
def test_a_title_begins_an_article_with_the_blank_row_before_it(name, end):
    articles = wikitext("First", "2 + 2 = 4", "É , ( 中 ) ' s")
    articles[-1] += end
    assert found(name, "".join(articles)) == articles


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(
    "line",
    [
        " = = Section = = \n",
        " = = = Deeper = = = \n",
        " = not closed \n",
        " not opened = \n",
        "= no spaces =\n",
        " = = One sign more = \n",
        " = One sign more = = \n",
        " = x = \n and on .",
    ],
)
def test_other_lines_begin_none(name, line):
    text = "".join(wikitext("First")) + f" \n{line} \n Text . \n"
    assert found(name, text) == [text]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_title_needs_a_blank_row_before_it(name):
    text = "".join(wikitext("First")) + " Words \n = Title = \n \n Text . \n"
    assert found(name, text) == [text]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\n\n\n"])
def test_a_line_that_is_the_separator_begins_an_article(name, newline):
    first, line = f"One.{newline}", f"<|endoftext|>{newline}Two.{newline}"
    assert found(name, first + line + line) == [first, line, line]
    assert found(name, line + line) == [line, line]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(
    "text", ["One. <|endoftext|> Two.", "One.\n<|endoftext|> Two.", "One.\n<|endoftext|>\n"]
)
def test_a_separator_inside_a_line_or_at_the_end_begins_none(name, text):
    assert found(name, text) == [text]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("blank", ["\n\n\n\n", "\r\n\r\n\r\n", "\n    ", "\n" + " \n" * 9])
def test_any_white_space_may_come_after_a_separator(name, blank):
    second = f"<|endoftext|>{blank}Two.\n"
    assert found(name, "One.\n" + second) == ["One.\n", second]
    assert found(name, f"One.\n<|endoftext|>{blank}") == [f"One.\n<|endoftext|>{blank}"]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("end", ["\n", "\n\n", "\r\n\r\n", " \n\n"])
def test_a_title_may_have_empty_lines_before_it(name, end):
    first, second = wikitext("First", "Second")
    assert found(name, first + end + second) == [first + end, second]
    assert found(name, f"One.{end}{second}\n\n") == [f"One.{end}", f"{second}\n\n"]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_separator_and_white_space_alone_are_no_article(name):
    one, line = wikitext("First")[0], "<|endoftext|>\n"
    assert found(name, "Words.\n" + line + one) == ["Words.\n", line + one]
    assert found(name, line + line + one + line + "\n" + line) == [line + line + one + line + "\n" + line]


def test_the_id_of_the_separator_begins_an_article():
    gpt2 = tokenizer("gpt2")
    ids = np.array([gpt2.separator, 1, 2, gpt2.separator, 3, gpt2.separator], np.uint16)
    assert article_starts(ids, gpt2).tolist() == [0, 3]
    title = gpt2.encode(wikitext("First")[0])
    ids = np.concatenate([[1, gpt2.separator, gpt2.separator], title]).astype(np.uint16)
    assert article_starts(ids, gpt2).tolist() == [0, 1]


LINES = ["<|endoftext|>", " ", "", " = A = ", " = = B = = ", "C", "C ", "C<|endoftext|>", " = D", "  "]


@given(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(["\n", "\r\n"]))), st.data())
def test_articles_are_alike_in_every_tokenizer_and_block(lines, data):
    text = "".join(line + end for line, end in lines)
    whole = found("bytes", text)
    assert found("gpt2", text) == whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_articles, "BLOCK", data.draw(st.integers(1, 9)))
        assert found(data.draw(st.sampled_from(TOKENIZERS)), text) == whole


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", [" ", " \n", " \n =", " \n = T", " \n = T = \n", "<|endoftext|>"])
def test_text_that_breaks_off_is_one_article(name, text):
    assert found(name, text) == [text]
