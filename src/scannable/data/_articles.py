"""Where articles begin, found in the bytes of ids, block by block, so that 92 million ids take seconds.

WikiText writes a title as `` = Title = `` between two blank rows, each a space and a line end; sections have two
signs or more on each side. The blank row before the title is the first of the article. In any other text, the
separator ``<|endoftext|>``, as an id of its own or as a line, is the first of an article.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from jaxtyping import Int64, UInt16

from scannable.data._gpt2 import SEPARATOR
from scannable.data._tokenizer import Tokenizer

BLOCK = 1 << 20
"""So many ids are turned into bytes at once."""
LINE = 512
"""A title, or white space between articles, is at most so many ids long."""
_START = re.compile(
    rb"\n(?: \r?\n(?= = (?!= )[^\r\n]+(?<! =) = \r?\n \r?\n)|" + re.escape(SEPARATOR) + rb"(?=[\r\n]))"
)
"""The end of the line before an article, and its first line."""


def article_starts(ids: UInt16[np.ndarray, " T"], tokenizer: Tokenizer) -> Int64[np.ndarray, " articles"]:
    """Return the places where articles begin; the first is 0.

    White space and a separator alone are no article: they belong to the next one, or at the end to the last.
    """
    found = {0, *_lines(ids, tokenizer)}
    if tokenizer.separator is not None:
        found.update(np.flatnonzero(ids == tokenizer.separator).tolist())
    starts = sorted(found)
    *empty, last = [_is_empty(ids[one:two], tokenizer) for one, two in pairwise([*starts, len(ids)])]
    kept = [0] + [start for start, before in zip(starts[1:], empty, strict=True) if not before]
    return np.array(kept[:-1] if last and len(kept) > 1 else kept, np.int64)


def _lines(ids: UInt16[np.ndarray, " T"], tokenizer: Tokenizer) -> Iterator[int]:
    """Find titles and lines that are separators: the ids that hold their first bytes."""
    for block in range(0, len(ids), BLOCK):
        part = ids[block : block + BLOCK + LINE]
        before = tokenizer.to_bytes(ids[block - 1 : block]) if block else b"\n"
        ends = len(before) + np.cumsum(tokenizer.lengths(part))
        places = [match.start() + 1 for match in _START.finditer(before + tokenizer.to_bytes(part))]
        yield from (block + np.searchsorted(ends, places, "right")).tolist()


def _is_empty(ids: UInt16[np.ndarray, " T"], tokenizer: Tokenizer) -> bool:
    return len(ids) <= LINE and tokenizer.to_bytes(ids).strip() in (b"", SEPARATOR)
