"""A text as a model reads it: ids, the places where its articles begin, and what its figures are divided by."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from jaxtyping import Bool, Int64, UInt16

from scannable.data._tokenizer import tokenizer

_PIECE = 1 << 22  # ids that are counted at once: numpy makes eight bytes of each


@dataclass(frozen=True, kw_only=True, eq=False)
class Text:
    """Ids of one text, read only. WikiText's marks (`` @-@ ``, `` @,@ ``) are left as they are: they are scored."""

    ids: UInt16[np.ndarray, " T"]
    starts: Int64[np.ndarray, " articles"]
    """Where articles begin, rising; the first is 0."""
    tokenizer: str

    def __post_init__(self) -> None:
        if not len(self.ids):
            raise ValueError("A text must have at least one token, got none; give one that is not empty.")
        starts = self.starts
        if not len(starts) or starts[0] != 0 or starts[-1] >= len(self.ids) or (np.diff(starts) < 1).any():
            raise ValueError(
                f"Articles must begin at 0 and then at rising places below {len(self.ids)}, got "
                f"{starts.tolist()[:8]}; correct `starts`."
            )
        for name in ("ids", "starts"):
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    @property
    def articles(self) -> list[UInt16[np.ndarray, " _"]]:
        """The ids of each article, views of `ids`."""
        return np.split(self.ids, self.starts[1:])

    def beginning(self, tokens: int) -> "Text":
        """Return the text of the first so many ids."""
        return replace(self, ids=self.ids[:tokens], starts=self.starts[self.starts < tokens])

    @cached_property
    def bytes(self) -> int:
        """How many bytes of UTF-8 the text has."""
        return sum(int(tokenizer(self.tokenizer).lengths(piece).sum()) for piece in self._pieces())

    @cached_property
    def words(self) -> int:
        """How many words, parted by ASCII white space, and one more for each line end, as WikiText counts."""
        opens, closes, inside = _word_tables(self.tokenizer)
        count, space = 0, True
        for piece in self._pieces():
            after_space = np.append(space, closes[piece[:-1]])
            count += int(inside[piece].sum()) + int((opens[piece] & after_space).sum())
            space = bool(closes[piece[-1]])
        return count

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of the ids, the same on every machine."""
        return hashlib.sha256(self.ids.astype("<u2").tobytes()).hexdigest()[:16]

    def _pieces(self) -> Iterator[UInt16[np.ndarray, " _"]]:
        for start in range(0, len(self.ids), _PIECE):
            yield self.ids[start : start + _PIECE]


@cache
def _word_tables(name: str) -> tuple[Bool[np.ndarray, " V"], Bool[np.ndarray, " V"], Int64[np.ndarray, " V"]]:
    """For each id: whether a word may begin at its first byte, whether one may after it, and what is counted inside.

    Inside are the words that begin after the first byte, and the line ends.
    """
    tokens = tokenizer(name).tokens
    opens = np.array([bool(token[:1].strip()) for token in tokens])
    closes = np.array([not token[-1:].strip() for token in tokens])
    inside = np.array([len((b"x" + token).split()) - 1 + token.count(b"\n") for token in tokens])
    return opens, closes, inside
