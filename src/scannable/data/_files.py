"""One file as ids: plain text or ids, packed or not. Files come from outside: nothing in them is run or unpickled."""

import codecs
import gzip
import lzma
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt16

from scannable.data._tokenizer import Tokenizer

_OTHERS = {
    "UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}
_IDS = (".u16", ".u16.xz", ".u16.gz", ".npy")


def holds_ids(path: Path) -> bool:
    """Whether a file holds ids, by its name; any other holds text."""
    return path.name.endswith(_IDS)


def load(path: Path, tokenizer: Tokenizer) -> UInt16[np.ndarray, " T"]:
    """Read the ids of one file: at least one.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is damaged, empty, not text, or its ids are not the tokenizer's.
    """
    if not path.is_file():
        if path.exists() and not path.is_dir():
            raise ValueError(
                f"{path} must be a file of text or ids that can be read again, got a pipe or a device; write what it "
                f"gives to a file first."
            )
        raise FileNotFoundError(
            f"{path} must be a file of text or ids, got {'a folder' if path.is_dir() else 'no such file'}; "
            f"correct the path."
        )
    ids = _ids(path, tokenizer) if holds_ids(path) else tokenizer.encode(_text(path))
    if not len(ids):
        raise ValueError(f"{path} must hold at least one token, got an empty file; give one that has text.")
    return ids


def _text(path: Path) -> str:
    content = _unpacked(path)
    for encoding, marks in _OTHERS.items():
        if mark := next((mark for mark in marks if content.startswith(mark)), None):
            raise ValueError(
                f"{path} must be text in UTF-8, got {encoding}, since it begins with the bytes {mark.hex(' ')}; "
                f"convert it to UTF-8."
            )
    try:
        place = content.find(b"\0")
        if place < 0:
            return content.decode("utf-8").removeprefix("\ufeff")  # a mark of UTF-8, no part of the text
    except UnicodeDecodeError as error:
        place = error.start
    raise ValueError(
        f"{path} must be text in UTF-8, got the byte 0x{content[place]:02x} at offset {place}; convert it to UTF-8, "
        f"or name a file of ids .u16 or .npy."
    )


def _ids(path: Path, tokenizer: Tokenizer) -> UInt16[np.ndarray, " T"]:
    ids = _array(path) if path.suffix == ".npy" else _raw(path)
    if len(ids) and (ids.min() < 0 or ids.max() >= tokenizer.vocabulary):
        place = int(np.flatnonzero((ids < 0) | (ids >= tokenizer.vocabulary))[0])
        raise ValueError(
            f"{path} must hold ids from 0 to {tokenizer.vocabulary - 1}, the vocabulary of the tokenizer "
            f"{tokenizer.name!r}, got {ids[place]} at place {place}; name the tokenizer that made them, or give the "
            f"text itself."
        )
    return ids.astype(np.uint16)


def _raw(path: Path) -> UInt16[np.ndarray, " T"]:
    content = _unpacked(path)
    if len(content) % 2:
        raise ValueError(
            f"{path} must hold ids of two bytes each, got {len(content)} bytes, an odd number; it breaks off or is "
            f"something else: copy it again."
        )
    return np.frombuffer(content, "<u2").astype(np.uint16)


def _array(path: Path) -> Integer[np.ndarray, " T"]:
    try:
        # The header's size is checked against the file's, and objects are refused.
        ids = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{path} must be a whole numpy array of numbers, got one that is damaged or holds something else "
            f"({error}); save it again."
        ) from error
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ValueError(
            f"{path} must hold whole numbers along one axis, got {ids.dtype} of shape {ids.shape}; save the ids as a "
            f"flat array of integers."
        )
    return np.asarray(ids)


def _unpacked(path: Path) -> bytes:
    try:
        if path.suffix == ".xz":
            return lzma.decompress(path.read_bytes(), lzma.FORMAT_XZ)
        if path.suffix == ".gz":
            return gzip.decompress(path.read_bytes())
    except (lzma.LZMAError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} must be a whole {path.suffix} file, got one that breaks off or is damaged ({error}); "
            f"copy it again."
        ) from error
    return path.read_bytes()
