"""Configs name their models, and both ways round."""

import pytest
import torch

from scannable import Decoder, TransformerPSM
from scannable.models import MODELS, build


@pytest.mark.parametrize(("name", "kind"), [("transformer-psm", TransformerPSM), ("decoder", Decoder)])
def test_every_name_builds_its_model(name, kind):
    model = build(MODELS[name](width=16, heads=2), 7)
    assert type(model) is kind
    assert model(torch.zeros(1, 2, dtype=torch.long)).shape == (1, 2, 7)


def test_every_name_is_tested():
    assert set(MODELS) == {"transformer-psm", "decoder"}
