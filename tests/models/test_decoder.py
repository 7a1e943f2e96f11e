"""The baseline: its limits, and what it refuses."""

import pytest
import torch

from models.subjects import decoder, draw, psm, refuses
from scannable import DecoderConfig
from scannable.testing._subject import relative


def test_the_decoder_ends_where_its_positions_end():
    model = decoder(limit=10)
    with refuses(ValueError, "end at 10", "slot at 10", "rotary or no positions"):
        model(draw(1, 11))
    _, stream = model.prefill(model.start(), draw(1, 10))
    with refuses(ValueError, "end at 10", "slot at 10"):
        model.step(stream, draw(1, 1)[:, 0])
    assert decoder(limit=10, positions="rotary")(draw(1, 11)).isfinite().all()


def test_the_head_is_tied_or_not():
    tied, untied = decoder(), decoder(tied=False)
    assert tied.head.codes is tied.embed.tokens
    assert untied.head.codes is not untied.embed.tokens


def test_a_config_refuses_nonsense_at_birth():
    with refuses(ValueError, "positions must be one of", "rotary", "got 'slot'"):
        DecoderConfig(positions="slot")
    with refuses(ValueError, "layers must be at least 1", "got 0"):
        DecoderConfig(layers=0)
    with refuses(ValueError, "multiple of 2", "width=9"):
        decoder(width=9)


def test_a_stream_of_a_psm_is_refused():
    with refuses(ValueError, "belongs to another model"):
        decoder().step(psm().start(), draw(1, 1)[:, 0])


@pytest.mark.compile
def test_torch_compile_sees_one_graph():
    model = decoder(layers=1)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        for length in (9, 11):  # the second time with sizes as symbols
            assert relative(compiled(draw(2, length)), model(draw(2, length))) < 1e-12
