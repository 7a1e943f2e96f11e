"""Tokenizers: text to ids and back, as numpy arrays."""

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property, partial

import numpy as np
from jaxtyping import Int64, Integer, UInt16

from scannable.data import _gpt2

MERGES = {"gpt2": _gpt2.MERGES, "gpt2-4096": 4096 - 256 - 1}
TOKENIZERS = (*MERGES, "bytes")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokenizer:
    """A closed vocabulary of byte strings; get one from `tokenizer`."""

    name: str
    tokens: tuple[bytes, ...] = field(repr=False)
    """The bytes of each id."""
    separator: int | None
    """The id that stands between articles, where the vocabulary has one; no text encodes to it."""
    ids_of: Callable[[str], UInt16[np.ndarray, " T"]]
    """Encodes well-formed text."""

    @property
    def vocabulary(self) -> int:
        """How many ids there are."""
        return len(self.tokens)

    @cached_property
    def _table(self) -> np.ndarray:
        return np.array(self.tokens, object)

    @cached_property
    def _lengths(self) -> Int64[np.ndarray, " vocabulary"]:
        return np.array([len(token) for token in self.tokens])

    def encode(self, text: str) -> UInt16[np.ndarray, " T"]:
        """Encode text of any length.

        Raises:
            ValueError: If the text is not Unicode, which is what a prompt in another encoding becomes.
        """
        try:
            return self.ids_of(text)
        except UnicodeEncodeError as error:
            place = next(i for i, letter in enumerate(text) if "\ud800" <= letter <= "\udfff")
            raise ValueError(
                f"Text must be well-formed Unicode, got {text[place]!a} as character {place}, half of a "
                f"character or a byte of another encoding; give the text in UTF-8."
            ) from error

    def decode(self, ids: Integer[np.ndarray, " T"]) -> str:
        """Decode ids; bytes that are not UTF-8 become U+FFFD."""
        return self.to_bytes(ids).decode("utf-8", "replace")

    def to_bytes(self, ids: Integer[np.ndarray, " T"]) -> bytes:
        """Join the bytes of ids."""
        return b"".join(self._table[ids])

    def lengths(self, ids: Integer[np.ndarray, " T"]) -> Int64[np.ndarray, " T"]:
        """Count the bytes of each id, as `decode` writes it."""
        return self._lengths[ids]

    def decoder(self) -> "StreamDecoder":
        """Begin to decode a stream of ids."""
        return StreamDecoder(self)


class StreamDecoder:
    """Decodes ids as they come: a character whose bytes are not all there yet is held back.

    The pieces together are what `Tokenizer.decode` gives for all the ids.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokens = tokenizer.tokens
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """Add one id; return the text that is now certain, which may be empty."""
        return self._decoder.decode(self._tokens[token])

    def finish(self) -> str:
        """Return what was held back: bytes of a character that never became whole, as U+FFFD."""
        return self._decoder.decode(b"", final=True)


@cache
def tokenizer(name: str) -> Tokenizer:
    """Return a tokenizer by name.

    "gpt2" has GPT-2's 50,257 byte pairs, "gpt2-4096" the 4,096 of them that were learned first, the separator among
    them, for models whose head must be small; "bytes" has the 256 bytes of UTF-8.

    Raises:
        ValueError: If there is no tokenizer of that name.
    """
    if name in MERGES:
        count = MERGES[name]
        tokens = _gpt2.tokens(count)
        encode = partial(_gpt2.encode, count=count)
        return Tokenizer(name=name, tokens=tokens, separator=len(tokens) - 1, ids_of=encode)
    if name == "bytes":
        tokens = tuple(bytes([byte]) for byte in range(256))
        return Tokenizer(name=name, tokens=tokens, separator=None, ids_of=_bytes)
    raise ValueError(f"The tokenizer must be one of {TOKENIZERS}, got {name!r}; choose one of these.")


def _bytes(text: str) -> UInt16[np.ndarray, " T"]:
    return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.uint16)
