"""GPT-2's byte-pair tokens without a network: the merges ship with the package, tiktoken applies them.

The vocabulary is OpenAI's (its licence lies beside it), from Radford et al., Language Models are Unsupervised
Multitask Learners, 2019, section 2.2.
"""

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from jaxtyping import UInt16

SEPARATOR = b"<|endoftext|>"
MERGES = 50_000
PIECE = 1 << 20  # characters that are encoded at once, so that memory stays bounded

# Contractions, letters, digits, other marks, white space: no merge crosses from one to the next. Of white space that
# is followed by anything, the last character stands apart. What is taken is never given back ("++"): GPT-2's own
# `\s+(?!\S)|\s+` means the same and needs a stack as deep as the run is long.
_WORDS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|(?:\s(?!\S))++|\s"
# White space ends a word, and what stands before it does not change what comes after.
_CUT = re.compile(r"\S(?=[ \n])")


@cache
def tokens(count: int = MERGES) -> tuple[bytes, ...]:
    """The bytes of each id: single bytes, then so many merges in the order in which they were learned, the separator.

    Bytes that print come first, the others after them; the file writes those as characters from 256 on.
    """
    printing = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order = printing + [byte for byte in range(256) if byte not in printing]
    letters = [chr(byte) for byte in printing] + [chr(256 + i) for i in range(256 - len(printing))]
    written = dict(zip(letters, order, strict=True))
    rows = (resources.files("scannable.data") / "gpt2" / "vocab.bpe").read_text(encoding="utf-8").splitlines()
    merged = (bytes(written[letter] for letter in row if letter != " ") for row in rows[1 : 1 + count])
    return (*(bytes([byte]) for byte in order), *merged, SEPARATOR)


def encode(text: str, count: int = MERGES) -> UInt16[np.ndarray, " T"]:
    """Encode text by so many of the merges; the separator's name in it is ordinary text.

    Raises:
        ValueError: If a run of white space is longer than tiktoken can split, about a million characters.
    """
    return np.concatenate([_encode(piece, count) for piece in _pieces(text)])


def _encode(piece: str, count: int) -> UInt16[np.ndarray, " T"]:
    try:
        return _encoding(count).encode_to_numpy(piece, disallowed_special=()).astype(np.uint16)
    except UnicodeEncodeError:
        raise
    except ValueError as error:
        longest = max(map(len, re.findall(r"\s+", piece)), default=0)
        raise ValueError(
            f"Text must not have a million characters of white space in a row, got {longest:,} ({error}); "
            f"shorten the run."
        ) from error


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while found := _CUT.search(text, start + PIECE):
        yield text[start : found.end()]
        start = found.end()
    yield text[start:]


@cache
def _encoding(count: int) -> Any:
    import tiktoken

    ranks = {token: number for number, token in enumerate(tokens(count)[:-1])}
    special = {SEPARATOR.decode(): len(ranks)}
    return tiktoken.Encoding("gpt2", pat_str=_WORDS, mergeable_ranks=ranks, special_tokens=special)
