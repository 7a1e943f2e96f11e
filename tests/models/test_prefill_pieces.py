"""A long prompt is read piece by piece: the same outputs and the same stream, in the memory of one piece."""

import pytest
import torch

from models.subjects import draw, psm
from scannable.models import _prefix_scannable
from scannable.testing._subject import relative

EXACT = 1e-12


@pytest.mark.parametrize("piece", [1, 8, 12])
def test_pieces_of_any_size_are_one_prefill(piece, monkeypatch):
    """From every count to every other: the outputs of the parallel form, and the stream that prefill leaves at once."""
    model, tokens = psm(positions="global", identity="learned", inference_layers=1), draw(2, 23)
    with torch.no_grad():
        expected = model(tokens)
        streams = [model.start(2)] + [model.prefill(model.start(2), tokens[:, :t])[1] for t in range(1, 24)]
        monkeypatch.setattr(_prefix_scannable, "PIECE", piece)
        for start in (0, 1, 4, 6):
            for stop in range(start + 1, 24):
                some, wanted = tokens[:, start:stop], expected[:, start:stop]
                outputs, after = model.prefill(streams[start], some, "all")
                assert relative(outputs, wanted) <= EXACT, (start, stop)
                last, other = model.prefill(streams[start], some)
                assert relative(last, wanted[:, -1]) <= EXACT, (start, stop)
                for stream in (after, other):
                    assert_same(stream, streams[stop])


def assert_same(one, other):
    """Two streams that hold the same numbers."""
    assert one.count == other.count
    left, right = one.tensors(), other.tensors()
    assert left.keys() == right.keys()
    for name, x in left.items():
        assert x.shape == right[name].shape
        assert torch.allclose(x, right[name], rtol=EXACT, atol=EXACT), name


@pytest.mark.parametrize("length", [64, 65, 67])
def test_the_last_of_a_prompt_asks_the_head_about_one_place_and_encodes_a_piece_at_once(length, monkeypatch):
    monkeypatch.setattr(_prefix_scannable, "PIECE", 16)
    model, asked, encoded = psm(), [], []
    stream = model.start(2)
    model.head.register_forward_hook(lambda _module, inputs, _output: asked.append(tuple(inputs[0].shape)))
    model.encoder.register_forward_hook(
        lambda _module, inputs, _output: encoded.append(inputs[0].numel() // 2)
    )
    with torch.no_grad():
        model.prefill(stream, draw(2, length))
    assert asked == [(2, 16)]
    assert max(encoded) == 16
    # Each token once for its state, those of the last chunk once more for what is said of them.
    assert sum(encoded) == 64 + (length - 64 or 4)


def test_all_outputs_of_a_prompt_are_asked_for_once(monkeypatch):
    monkeypatch.setattr(_prefix_scannable, "PIECE", 16)
    model, asked = psm(), []
    model.head.register_forward_hook(lambda _module, inputs, _output: asked.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        model.prefill(model.start(2), draw(2, 67), "all")
    assert asked == [(2, 67, 16)]
