"""Configs name their models, and both ways round."""

import pytest

from scannable import Decoder, TransformerPSM
from scannable.models import MODELS, build


@pytest.mark.parametrize(("name", "kind"), [("transformer-psm", TransformerPSM), ("decoder", Decoder)])
def test_every_name_builds_its_model(name, kind):
    model = build(MODELS[name](width=16, heads=2), 7)
    assert type(model) is kind
    assert model.head.weight.shape[0] == 7 if kind is Decoder else model.inference.head.weight.shape[0] == 7


def test_every_name_is_tested():
    assert set(MODELS) == {"transformer-psm", "decoder"}
