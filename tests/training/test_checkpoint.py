import json
import os
import struct

import pytest
import safetensors.torch
import torch
from torch import nn

from scannable.training import write_json
from scannable.training._checkpoint import load_weights, read_tensors, weights, write_tensors
from scannable.training._files import read_json, replacing


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "some.safetensors"
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(7), "c": torch.zeros(0, 4).bfloat16()}
    write_tensors(path, tensors, {"step": 3, "name": "x"})
    return path, tensors


def test_what_is_written_is_read(written):
    path, tensors = written
    read, facts = read_tensors(path)
    assert facts == {"step": 3, "name": "x"}
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], x) and read[name].dtype == x.dtype for name, x in tensors.items())
    assert list(path.parent.iterdir()) == [path]


def test_every_flipped_bit_is_noticed(written):
    path, _ = written
    whole = path.read_bytes()
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"some\.safetensors must .*, got .*; (restore|read)"):
            read_tensors(path)


def test_every_truncation_is_noticed(written):
    path, _ = written
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"some\.safetensors must be a whole file.*truncated.*; restore"):
            read_tensors(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="whole file"):
        read_tensors(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "some.safetensors"
    safetensors.torch.save_file({"a": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="got a safetensors file of another program, without format"):
        read_tensors(path)
    torch.save({"a": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="truncated, damaged or of another kind"):
        read_tensors(path)
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(ValueError, match="truncated, damaged or of another kind"):
        read_tensors(path)
    with pytest.raises(FileNotFoundError, match=r"must hold none\.safetensors, got no such file; give"):
        read_tensors(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="got no such file"):
        read_tensors(tmp_path)


def test_another_format_is_refused(written, monkeypatch):
    path, _ = written
    monkeypatch.setattr("scannable.training._checkpoint.FORMAT", 2)
    with pytest.raises(ValueError, match="must have format 2, got format 1; read it with the version"):
        read_tensors(path)


def test_a_write_that_fails_leaves_the_old_file(written):
    path, tensors = written
    old = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_tensors(path, tensors, {"loss": float("nan")})

    def interrupted():
        with replacing(path) as partial:
            partial.write_text("half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def test_a_crash_before_the_rename_leaves_the_old_file(written, monkeypatch):
    path, tensors = written
    old = path.read_bytes()

    def crash(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="no space left"):
        write_tensors(path, tensors, {})
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


class Tied(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.embed = nn.Embedding(4, width)
        self.head = nn.Linear(width, 4)
        self.head.weight = self.embed.weight
        self.register_buffer("count", torch.tensor(2))


def test_shared_weights_are_kept_once_and_loaded_together(tmp_path):
    one, other = Tied(), Tied()
    assert list(weights(one)) == ["count", "embed.weight", "head.bias"]
    write_tensors(tmp_path / "m", weights(one), {})
    load_weights(other, read_tensors(tmp_path / "m")[0], tmp_path / "m")
    assert other.head.weight is other.embed.weight
    assert torch.equal(other.head.weight, one.embed.weight)


def test_narrow_floats_are_widened(tmp_path):
    one, other = Tied(), Tied()
    half = {name: x.half() if x.is_floating_point() else x for name, x in weights(one).items()}
    load_weights(other, half, tmp_path)
    assert other.head.weight.dtype == torch.float32
    assert torch.equal(other.head.weight, one.head.weight.half().float())


def test_weights_of_another_model_are_refused_whole(tmp_path):
    model = Tied()
    before = {name: x.clone() for name, x in weights(model).items()}
    good = {name: x + 1 for name, x in before.items()}
    for tensors, words in [
        ({**good, "head.bias": torch.ones(5)}, r"head\.bias is \(5,\) instead of \(4,\)"),
        ({**good, "count": torch.tensor(2.0)}, r"count is torch\.float32 instead of torch\.int64"),
        ({**good, "more": torch.ones(1)}, "more has no place"),
        ({"count": good["count"]}, r"embed\.weight is missing, head\.bias is missing"),
        ({str(i): torch.ones(1) for i in range(5)}, "and 5 more faults; give the folder"),
    ]:
        with pytest.raises(ValueError, match=rf"some\.file must hold the weights.*{words}"):
            load_weights(model, tensors, tmp_path / "some.file")
        assert all(torch.equal(x, before[name]) for name, x in weights(model).items())


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "some.json"
    write_json(path, {"a": [1, 2.5, None]})
    assert read_json(path) == {"a": [1, 2.5, None]}
    for value in ({"a": float("inf")}, {"a": object()}):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, value)
    assert json.loads(path.read_text()) == {"a": [1, 2.5, None]}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"\xff\xfe", b"[" * 100_000])
def test_broken_json_names_the_file(tmp_path, content):
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"some\.json must be a JSON file, got one that breaks off or is damaged"
    ):
        read_json(path)
