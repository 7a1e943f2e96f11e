"""A decoder in a window: how far back it sees, and what its stream keeps."""

import pytest
import torch

from models.subjects import decoder, draw, refuses
from scannable import DecoderConfig
from scannable.testing import assert_duality, assert_resume


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("window", [1, 3, 8])
def test_a_stream_keeps_one_token_less_than_the_window(window, batch):
    """The next token is the last of its own window."""
    model, tokens = decoder(window=window), draw(batch, 23)
    with torch.no_grad():
        stepped = model.start(batch)
        for t in range(23):
            _, stepped = model.step(stepped, tokens[:, t])
            _, filled = model.prefill(model.start(batch), tokens[:, : t + 1])
            kept = min(t + 1, window - 1)
            for stream in (stepped, filled):
                found = {x.shape[1] for layer in stream.cache[1] for x in layer}
                assert found == {kept}
                # Layers, keys and values, of 16 numbers each in float64; and not a byte of the tokens before.
                assert stream.nbytes == batch * kept * 2 * 2 * 16 * 8


@pytest.mark.parametrize(("layers", "window"), [(1, 1), (1, 4), (2, 1), (2, 3), (3, 4)])
def test_an_output_sees_as_many_tokens_as_its_layers_reach(layers, window):
    """One layer reaches ``window - 1`` tokens back, and each on top of it as many again; nothing reaches ahead."""
    model, tokens, reach = (
        decoder(layers=layers, window=window, positions="rotary"),
        draw(1, 23),
        layers * (window - 1),
    )
    with torch.no_grad():
        before = model(tokens)
        for place in range(23):
            other = tokens.clone()
            other[:, place] = (other[:, place] + 1) % 11
            moved = (model(other) - before).abs().amax((0, 2))
            seen = torch.tensor([place <= t <= place + reach for t in range(23)])
            assert not moved[~seen].any()
            assert (moved[seen] > 1e-12).all()


@pytest.mark.parametrize("window", [1, 4])
def test_a_decoder_in_a_window_is_one_function_and_its_stream_resumes(window):
    model = decoder(window=window, width=32, positions="rotary")
    assert_duality(model, draw(2, 35))
    assert_resume(model, draw(2, 19), places=6)


def test_a_window_holds_a_token_and_is_a_whole_number():
    with refuses(ValueError, "window must be at least 1", "got 0"):
        DecoderConfig(window=0)
    for wrong in (2.0, "2", True):
        with refuses(TypeError, "window must be of type int", repr(wrong), "leave it out"):
            DecoderConfig(window=wrong)
    assert DecoderConfig(window=None) == DecoderConfig()
