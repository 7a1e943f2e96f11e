"""Where articles begin, found in the ids, so that 92 million of them take seconds.

WikiText writes a title as `` = Title = `` between two blank rows, each a space and a line end; sections have two
signs or more on each side. The blank row before the title is the first of the article. In any other text, the
separator ``<|endoftext|>``, as an id of its own or as a line, is the first of an article.
"""

import re

import numpy as np
from jaxtyping import Bool, Int64, UInt16

from scannable.data._gpt2 import SEPARATOR
from scannable.data._tokenizer import Tokenizer

BLANK = 4096
"""White space before the first article is looked for among so many tokens."""
LINE_ENDS = "\n", "\r\n"
_TITLE = re.compile(r" \r?\n = (?!= )[^\r\n]+(?<! =) = \r?\n \r?\n")


def article_starts(ids: UInt16[np.ndarray, " T"], tokenizer: Tokenizer) -> Int64[np.ndarray, " articles"]:
    """Return the places where articles begin; the first is 0, and white space before its title is a part of it."""
    found = [np.zeros(1, np.int64), _separators(ids, tokenizer)]
    found += [_titles(ids, f" {end}", tokenizer) for end in LINE_ENDS]
    starts = np.unique(np.concatenate(found))
    if len(starts) > 1 and starts[1] <= BLANK and not tokenizer.decode(ids[: starts[1]]).strip():
        starts = np.delete(starts, 1)
    return starts


def _titles(ids: UInt16[np.ndarray, " T"], row: str, tokenizer: Tokenizer) -> Int64[np.ndarray, " found"]:
    blank, equals = tokenizer.encode(row), tokenizer.encode(" =")
    newline, title = blank[-1], len(blank) + len(equals)
    found = _places(ids, np.concatenate([blank, equals]))
    found = found[(found == 0) | (ids[found - 1] == newline)]
    sections = _places(ids, np.concatenate([blank, equals, equals]))
    found = np.setdiff1d(found, sections, assume_unique=True)
    ends = np.append(np.flatnonzero(ids == newline), len(ids))
    ends = ends[np.searchsorted(ends, found + title)]
    pairs = zip(found.tolist(), ends.tolist(), strict=True)
    certain = [start for start, end in pairs if _is_title(ids[start : end + 1 + len(blank)], tokenizer)]
    return np.array(certain, np.int64)


def _is_title(ids: UInt16[np.ndarray, " T"], tokenizer: Tokenizer) -> bool:
    return _TITLE.fullmatch(tokenizer.decode(ids)) is not None


def _separators(ids: UInt16[np.ndarray, " T"], tokenizer: Tokenizer) -> Int64[np.ndarray, " found"]:
    """Find separators; one that ends the whole text begins no article."""
    line = tokenizer.encode(SEPARATOR.decode())
    found = [i for i in _places(ids, line).tolist() if _is_line(ids, i, i + len(line), tokenizer)]
    if tokenizer.separator is not None:
        found += np.flatnonzero(ids[:-1] == tokenizer.separator).tolist()
    return np.array(found, np.int64)


def _is_line(ids: UInt16[np.ndarray, " T"], start: int, stop: int, tokenizer: Tokenizer) -> bool:
    before = tokenizer.to_bytes(ids[max(start - 1, 0) : start])
    after = tokenizer.to_bytes(ids[stop : stop + 1])
    rest = tokenizer.to_bytes(ids[stop : stop + 4]).strip()
    return (start == 0 or before.endswith(b"\n")) and after.startswith((b"\r", b"\n")) and bool(rest)


def _places(ids: UInt16[np.ndarray, " T"], pattern: UInt16[np.ndarray, " P"]) -> Int64[np.ndarray, " found"]:
    """Return where a pattern of ids begins."""
    count = max(len(ids) - len(pattern) + 1, 0)
    same: Bool[np.ndarray, " places"] = np.ones(count, bool)
    for offset, wanted in enumerate(pattern):
        same &= ids[offset : offset + count] == wanted
    return np.flatnonzero(same)
