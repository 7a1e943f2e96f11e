"""Reading: every kind of file and folder, what is held out, and what is refused."""

import gzip
import json
import lzma
import os
import sys
import types

import numpy as np
import pytest

from agreement import refused
from scannable.data import TOKENIZERS, read, read_text, tokenizer
from scannable.data._read import EMBEDDED

WORDS = "Some words , with a 3 @-@ day week ; 中 and 😀 .\n" * 4
IDS = tokenizer("gpt2").encode(WORDS)


def article(number):
    return f" \n = Number {number} = \n \n {WORDS} \n"


def write(path, content):
    """Write text or ids in the form that the name says."""
    raw = content.encode() if isinstance(content, str) else np.asarray(content, "<u2").tobytes()
    pack = {".xz": lzma.compress, ".gz": gzip.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(raw))
    return path


def words(text):
    return tokenizer(text.tokenizer).decode(text.ids)


# One file.


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("file", ["a.txt", "a", "a.md.xz", "a.txt.gz"])
def test_text_is_read_whatever_its_ending(name, file, tmp_path):
    text = read_text(write(tmp_path / file, WORDS), name)
    assert words(text) == WORDS
    assert text.starts.tolist() == [0]
    assert text.tokenizer == name


def test_the_mark_of_utf_8_at_the_beginning_is_no_text(tmp_path):
    assert words(read_text(write(tmp_path / "a.txt", "\ufeff" + WORDS + "\ufeff"))) == WORDS + "\ufeff"


@pytest.mark.parametrize("file", ["a.u16", "a.u16.xz", "a.u16.gz", "a.npy"])
@pytest.mark.parametrize("kind", ["<u2", ">i4", "int64"])
def test_ids_are_read_as_they_are(file, kind, tmp_path):
    path = tmp_path / file
    np.save(path, IDS.astype(kind)) if file == "a.npy" else write(path, IDS)
    text = read_text(path)
    assert np.array_equal(text.ids, IDS)
    assert text.ids.dtype == np.uint16


@pytest.mark.parametrize("source", [read, read_text])
def test_a_file_that_is_not_there_is_refused(source, tmp_path):
    with refused(
        FileNotFoundError, r"lost.txt must be a file of text or ids, got no such file; correct the path\."
    ):
        source(tmp_path / "lost.txt")


@pytest.mark.parametrize("source", [read, read_text])
def test_what_can_be_read_only_once_is_refused(source):
    with refused(ValueError, "got a pipe or a device; write what it gives to a file first"):
        source(os.devnull)


def test_a_folder_is_no_file(tmp_path):
    with refused(FileNotFoundError, "got a folder"):
        read_text(tmp_path)


DAMAGED = {
    "empty.txt": (b"", "must hold at least one token, got an empty file"),
    "empty.u16": (b"", "must hold at least one token, got an empty file"),
    "latin.txt": (b"caf\xe9 au lait", "must be text in UTF-8, got the byte 0xe9 at offset 3"),
    "cut.txt": ("中".encode()[:2], "must be text in UTF-8, got the byte 0xe4 at offset 0"),
    "program.txt": (b"\x7fELF\x00\x01", "must be text in UTF-8, got the byte 0x00 at offset 4"),
    "wide.txt": (
        "Row".encode("utf-16"),
        "must be text in UTF-8, got UTF-16, since it begins with the bytes ff fe",
    ),
    "turned.txt": (b"\xfe\xff\0R", "must be text in UTF-8, got UTF-16, since it begins with the bytes fe ff"),
    "wider.txt": (
        "Row".encode("utf-32"),
        "must be text in UTF-8, got UTF-32, since it begins with the bytes ff fe 00 00",
    ),
    "odd.u16": (b"\x01\x00\x02", "must hold ids of two bytes each, got 3 bytes, an odd number"),
    "large.u16": (b"\x01\x00\xff\xff", "must hold ids from 0 to 50256, .* 'gpt2', got 65535 at place 1"),
    "cut.txt.xz": (lzma.compress(WORDS.encode())[:-9], "must be a whole .xz file, got one that breaks off"),
    "cut.u16.xz": (lzma.compress(bytes(90))[:40], "must be a whole .xz file, got one that breaks off"),
    "not.txt.xz": (b"plain text", "must be a whole .xz file, got one that breaks off or is damaged"),
    "cut.txt.gz": (gzip.compress(WORDS.encode())[:-9], "must be a whole .gz file, got one that breaks off"),
    "bad.npy": (b"\x93NUMPY\x01\x00", "must be a whole numpy array of numbers"),
    "zip.npy": (b"PK\x03\x04" + bytes(40), "must be a whole numpy array of numbers"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_by_name(name, tmp_path):
    content, message = DAMAGED[name]
    (tmp_path / name).write_bytes(content)
    with refused(ValueError, f"{name} {message}"):
        read_text(tmp_path / name)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([["a"]], object), "must be a whole numpy array of numbers"),
        (np.zeros((2, 2), np.int64), r"whole numbers along one axis, got int64 of shape \(2, 2\)"),
        (np.zeros(2), "whole numbers along one axis, got float64"),
        (np.array([1, -1]), "ids from 0 to 50256, .* got -1 at place 1"),
        (np.array([50_257]), "got 50257 at place 0"),
    ],
)
def test_an_array_that_is_no_list_of_ids_is_refused(array, message, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with refused(ValueError, message):
        read_text(tmp_path / "a.npy")


def test_an_array_that_breaks_off_is_refused_without_its_memory(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(10, np.int64))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole.replace(b"(10,), }       ", b"(10000000000,)}")[:-8])
    with refused(ValueError, "must be a whole numpy array of numbers"):
        read_text(tmp_path / "a.npy")


def test_ids_of_another_tokenizer_are_refused(tmp_path):
    write(tmp_path / "a.u16", IDS)
    with refused(
        ValueError, r"ids from 0 to 255, the vocabulary of the tokenizer 'bytes', got 4366 at place 0"
    ):
        read_text(tmp_path / "a.u16", "bytes")


# What is held out.


@pytest.mark.parametrize(("count", "held"), [(2, 1), (20, 1), (21, 2), (60, 3)])
def test_the_last_articles_are_held_out(count, held, tmp_path):
    articles = [article(number) for number in range(count)]
    splits = read(write(tmp_path / "a.txt", "".join(articles)))
    assert words(splits.train) == "".join(articles[:-held])
    assert words(splits.valid) == "".join(articles[-held:])
    assert len(splits.valid.starts) == held
    assert len(splits.train.starts) == count - held
    assert splits.held_out == f"the last {held} of {count} articles"


@pytest.mark.parametrize(("count", "held"), [(4, 2), (40, 2), (41, 3), (1000, 50)])
def test_the_last_tokens_of_a_single_article_are_held_out(count, held, tmp_path):
    splits = read(write(tmp_path / "a.txt", "x" * count), "bytes")
    assert (len(splits.train.ids), len(splits.valid.ids)) == (count - held, held)
    assert splits.train.starts.tolist() == splits.valid.starts.tolist() == [0]
    assert splits.held_out == f"the last {held:,} of the {count:,} tokens of the only article"


def test_an_article_that_is_more_than_half_of_the_text_is_cut(tmp_path):
    splits = read(write(tmp_path / "a.txt", "ab\n<|endoftext|>\n" + "x" * 1000), "bytes")
    assert (len(splits.train.ids), len(splits.valid.ids)) == (966, 51)
    assert (splits.train.starts.tolist(), splits.valid.starts.tolist()) == ([0, 3], [0])
    assert splits.held_out == "the last 51 of the 1,017 tokens"


def test_a_text_that_is_too_short_is_refused(tmp_path):
    with refused(ValueError, "at least 4 tokens, so that some can be held out, got 3"):
        read(write(tmp_path / "a.txt", "abc"), "bytes")
    write(tmp_path / "train.txt", "a")
    write(tmp_path / "valid.txt", WORDS)
    with refused(
        ValueError, "The train part must have at least 2 tokens, one to read and one to predict, got 1"
    ):
        read(tmp_path)


# Folders.


@pytest.mark.parametrize(
    ("train", "valid"),
    [
        ("train.txt", "valid.txt"),
        ("train", "validation"),
        ("wiki.train.raw.xz", "wiki.valid.raw.xz"),
        ("train-00000-of-00001.txt", "validation-00000.txt"),
        ("train.txt", "valid.u16"),
    ],
)
def test_names_say_which_part_a_file_is_of(train, valid, tmp_path):
    write(tmp_path / train, article(1) + article(2))
    write(tmp_path / valid, IDS if valid.endswith("u16") else WORDS)
    for other in ("test.txt", "README.md", ".train.txt", "trains.txt", "wiki-train.txt"):
        write(tmp_path / other, "Neither .")
    splits = read(tmp_path)
    assert words(splits.train) == article(1) + article(2)
    assert words(splits.valid) == WORDS
    assert splits.held_out == ""


def test_numbered_files_are_read_in_the_order_of_their_numbers(tmp_path):
    for number in range(11):
        write(tmp_path / f"train.{number}.u16.xz", tokenizer("gpt2").encode(article(number)))
    write(tmp_path / "valid.txt", WORDS)
    text = read(str(tmp_path)).train
    assert [tokenizer("gpt2").decode(ids) for ids in text.articles] == [article(n) for n in range(11)]


@pytest.mark.parametrize(
    ("numbers", "promised", "missing"),
    [((0, 2), (), "1"), ((1, 2), (0, 1, 2), "0"), ((0, 1), (0, 1, 2, 3), "2, 3"), ((0,), (0, 1), "1")],
)
def test_a_missing_file_is_named(numbers, promised, missing, tmp_path):
    for number in numbers:
        write(tmp_path / f"train.{number}.u16", IDS)
    if promised:
        names = {f"train.{number}": {"articles": 1} for number in promised}
        (tmp_path / "meta.json").write_text(json.dumps(names | {"test": {}, "about": 1}))
    with refused(
        ValueError,
        f"all numbered files of the train part, got {len(numbers)} of them without number {missing};",
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "missing"), [((0,), "1, 2"), ((0, 1), "2"), ((1, 3), "2"), ((0, 1, 2), ""), ((1, 2, 3), "")]
)
def test_names_that_say_how_many_files_there_are_are_taken_by_their_word(numbers, missing, tmp_path):
    for number in numbers:
        write(tmp_path / f"train-{number:05}-of-00003.txt", WORDS)
    if missing:
        with refused(ValueError, f"got {len(numbers)} of them without number {missing};"):
            read(tmp_path)
    else:
        assert len(read(tmp_path).train.starts) > 0


def test_a_folder_named_like_a_part_is_not_read_and_named(tmp_path):
    write(tmp_path / "train.txt", WORDS)
    for name in ("valid", "notes"):
        (tmp_path / name).mkdir()
    assert read(tmp_path).unread == ("valid",)


@pytest.mark.parametrize("numbers", [(2024,), (2019, 2021), (20240131, 20240229)])
def test_years_and_days_may_have_gaps(numbers, tmp_path):
    for number in numbers:
        write(tmp_path / f"train-{number}.txt", f"{number} {WORDS}")
    write(tmp_path / "valid.txt", WORDS)
    assert [words(read(tmp_path).train).count(f"{number} ") for number in numbers] == [1] * len(numbers)


@pytest.mark.parametrize("content", ["{", '"text"', "[]", "[[]]", "7"])
def test_a_folder_may_say_nothing_of_itself_but_nothing_broken(content, tmp_path):
    write(tmp_path / "train.1.u16", IDS)
    write(tmp_path / "train.2.u16", IDS)
    (tmp_path / "meta.json").write_text(content)
    if content == "{":
        with refused(ValueError, "meta.json must be a JSON file, got a damaged one"):
            read(tmp_path)
    else:
        assert len(read(tmp_path).train.ids) == len(IDS)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "must hold files of text or ids, got none"),
        (
            ("valid.txt", "a.txt"),
            "must hold a file whose name begins with the word train, got a.txt, valid.txt",
        ),
        (("trains.txt", "val.txt"), "begins with the word train, got trains.txt, val.txt"),
        (("train.txt", "train.u16"), r"must be text or ids, got both \(train.txt and train.u16\); move one"),
        (("a.txt", "b.npy"), r"must be text or ids, got both \(a.txt and b.npy\)"),
        (
            ("train.0.u16", "train.0.u16.xz"),
            "must have numbers of their own, got train.0.u16, train.0.u16.xz",
        ),
        (("train.a.txt", "train.b.txt"), "they must be numbered, got train.a.txt, train.b.txt"),
        (("train.txt", "train.0.txt"), "they must be numbered"),
    ],
)
def test_a_folder_that_is_not_clear_is_refused(names, message, tmp_path):
    for name in names:
        write(tmp_path / name, IDS if "u16" in name else WORDS)
    with refused(ValueError, message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        ("training.txt", "validation.txt", "testing.txt"),
        ("trainset.txt", "validset.txt", "testset.txt"),
        ("TRAIN.txt", "Valid.txt", "TEST.txt"),
        ("train.txt", "dev.txt", "my.test.txt"),
        ("train-part.txt", "val_1.txt", "test.txt"),
    ],
)
def test_a_part_may_be_called_what_people_call_it(train, valid, test, tmp_path):
    for name in (train, valid, test):
        write(tmp_path / name, f"{name} {WORDS}")
    splits = read(tmp_path)
    assert (words(splits.train), words(splits.valid)) == (f"{train} {WORDS}", f"{valid} {WORDS}")


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    write(tmp_path / "train.txt", WORDS)
    (tmp_path / ".#train.txt").symlink_to(tmp_path / "an editor's lock")
    read(tmp_path)
    (tmp_path / "valid.txt").symlink_to(tmp_path / "gone.txt")
    with refused(ValueError, "must lead to files, got valid.txt, which leads nowhere; restore its file"):
        read(tmp_path)


def test_an_empty_name_is_no_folder():
    with refused(ValueError, "must be a file or a folder, got an empty name"):
        read("")


def test_a_folder_of_other_names_is_read_by_name_each_file_an_article(tmp_path):
    for name in ("b.txt", "a.md", "c"):
        write(tmp_path / name, f"{name} {WORDS}")
    (tmp_path / "inside").mkdir()
    splits = read(tmp_path)
    assert words(splits.train) == f"a.md {WORDS}b.txt {WORDS}"
    assert len(splits.train.starts) == 2
    assert words(splits.valid) == f"c {WORDS}"
    assert splits.held_out == "the last 1 of 3 articles"


# What needs no file.


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_embedded_corpus_is_whole_articles_of_wikipedia(name):
    splits = read(tokenizer=name)
    assert splits.held_out == ""
    assert (splits.train.bytes, splits.valid.bytes) == (2_328_622, 151_616)
    assert (len(splits.train.starts), len(splits.valid.starts)) == (133, 18)
    listed = (EMBEDDED / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines()
    titles = [line.removeprefix("- ") for line in listed if line.startswith("- ")]
    articles = [tokenizer(name).decode(ids) for text in (splits.train, splits.valid) for ids in text.articles]
    assert [found.split(" = ")[1] for found in articles] == titles
    assert len(set(articles)) == len(articles)
    assert not any("\ufffd" in found for found in articles)


def planted(monkeypatch, load):
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load))


def test_wikitext_is_what_was_published(monkeypatch):
    """The library strips blank rows; the published files have a space on them."""
    rows = {"train": ["", " = One = \n", "", WORDS, ""], "validation": ["", " = Two = \n", "", WORDS]}

    def load(path, config, *, split):
        assert (path, config) == ("Salesforce/wikitext", "wikitext-103-raw-v1")
        return {"text": rows[split]}

    planted(monkeypatch, load)
    splits = read("wikitext-103", "bytes")
    assert words(splits.train) == f" \n = One = \n \n{WORDS} \n"
    assert words(splits.valid) == f" \n = Two = \n \n{WORDS}"


def test_wikitext_without_the_library_is_refused_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with refused(ImportError, r"needs the datasets library, got none; pip install '.\[data\]'"):
        read("wikitext-103")


@pytest.mark.parametrize("error", [ConnectionError, FileNotFoundError, ValueError])
def test_wikitext_without_a_network_is_refused_with_the_cure(error, monkeypatch):
    def load(*_, **__):
        raise error("no way out")

    planted(monkeypatch, load)
    with refused(ConnectionError, f"needs a network .* got {error.__name__}: no way out; try again"):
        read("wikitext-103")
