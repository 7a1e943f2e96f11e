"""Read text to train on: the embedded corpus, WikiText-103, a file or a folder."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt16

from scannable.data import _tokenizer
from scannable.data._articles import article_starts
from scannable.data._files import load
from scannable.data._folder import others, parts
from scannable.data._texts import Text
from scannable.data._tokenizer import Tokenizer
from scannable.data._wikitext import wikitext

EMBEDDED = Path(__file__).with_name("wikipedia")
WIKITEXT = "wikitext-103"
HELD_OUT = 20  # of so many articles, or tokens, one is held out
SHORTEST = 2  # tokens of a part: one to read and one to predict


@dataclass(frozen=True, kw_only=True)
class Splits:
    """What to train on and what to tune on; a test part of a folder is left alone, read it with `read_text`."""

    train: Text
    valid: Text
    held_out: str
    """What was taken from the end of the training text for want of a validation part; empty where there is one."""
    unread: tuple[str, ...] = ()
    """Files of the folder whose names say no part, where others do."""

    def __post_init__(self) -> None:
        for name in ("train", "valid"):
            count = len(getattr(self, name).ids)
            if count < SHORTEST:
                raise ValueError(
                    f"The {name} part must have at least {SHORTEST} tokens, one to read and one to predict, got "
                    f"{count}; give a longer text."
                )


def read(source: Path | str | None = None, tokenizer: str = "gpt2") -> Splits:
    """Read the text to train and to validate on.

    WikiText's marks (`` @-@ `` for a hyphen inside a word, and others) are left as they are: they are part of
    what the published perplexities score.

    Args:
        source: None is the embedded corpus: articles of Wikipedia, in the package. "wikitext-103" is
            wikitext-103-raw-v1 through the ``datasets`` library (a folder of that name is ``./wikitext-103``). Else a
            file or folder: text in UTF-8 (``.xz`` and ``.gz`` of it, too), or ids (``.u16``, ``.u16.xz``:
            little-endian, two bytes each, no header; ``.npy``). In a folder, a word at the beginning of a name
            or after a dot (train, valid, val, dev, test) says which part a file is of; where no name has one, all are
            of train.
        tokenizer: The name of a tokenizer.

    Returns:
        The ids. Where there is no validation part, the last 5 % of the articles, at least one, are held out; of a
        single article the last 5 % of its tokens.

    Raises:
        FileNotFoundError: If the file or folder is not there.
        ValueError: If what is there cannot be read, or is too short.
        ImportError: If ``datasets`` is needed and not installed.
        ConnectionError: If WikiText-103 could not be fetched.
    """
    tokens = _tokenizer.tokenizer(tokenizer)
    if source == "":
        raise ValueError(
            "A text must be a file or a folder, got an empty name; leave it out for the articles here."
        )
    if source == WIKITEXT:
        train, valid = (_text([tokens.encode(text)], tokens) for text in wikitext())
        return Splits(train=train, valid=valid, held_out="")
    path = EMBEDDED if source is None else Path(source)
    files = parts(path) if path.is_dir() else {"train": [path]}
    texts = {
        part: _text([load(file, tokens) for file in files[part]], tokens)
        for part in ("train", "valid")
        if part in files
    }
    if "valid" in texts:
        splits = Splits(train=texts["train"], valid=texts["valid"], held_out="")
    else:
        splits = _hold_out(texts["train"])
    return replace(splits, unread=others(path, files)) if source is not None and path.is_dir() else splits


def read_text(file: Path | str, tokenizer: str = "gpt2") -> Text:
    """Read one file by itself, of any of the kinds that `read` knows.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If it cannot be read.
    """
    tokens = _tokenizer.tokenizer(tokenizer)
    return _text([load(Path(file), tokens)], tokens)


def _text(files: list[UInt16[np.ndarray, " _"]], tokens: Tokenizer) -> Text:
    """Join files; each begins an article."""
    offsets = np.cumsum([0, *(len(ids) for ids in files[:-1])])
    starts = [offset + article_starts(ids, tokens) for offset, ids in zip(offsets, files, strict=True)]
    return Text(ids=np.concatenate(files), starts=np.concatenate(starts), tokenizer=tokens.name)


def _hold_out(text: Text) -> Splits:
    """Take validation data from the end: whole articles, or tokens if those would be more than half of the text."""
    articles, tokens = len(text.starts), len(text.ids)
    count = -(-articles // HELD_OUT)
    cut, held_out = int(text.starts[-count]), f"the last {count} of {articles} articles"
    if 2 * cut < tokens:
        count, whose = max(-(-tokens // HELD_OUT), SHORTEST), " of the only article" if articles == 1 else ""
        cut, held_out = tokens - count, f"the last {count:,} of the {tokens:,} tokens{whose}"
    if cut < SHORTEST:
        raise ValueError(
            f"A text must have at least {2 * SHORTEST} tokens, so that some can be held out, got {tokens}; give "
            f"a longer one."
        )
    rest = np.unique([0, *(text.starts[text.starts >= cut] - cut)])
    return Splits(
        train=text.beginning(cut),
        valid=Text(ids=text.ids[cut:], starts=rest, tokenizer=text.tokenizer),
        held_out=held_out,
    )
