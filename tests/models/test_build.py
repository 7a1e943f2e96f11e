"""Configs name their models, and both ways round."""

import pytest
import torch

from scannable import AffineLanguageModel, Decoder, TransformerPSM
from scannable.models import MODELS, build

KINDS = {"transformer-psm": TransformerPSM, "decoder": Decoder, "affine": AffineLanguageModel}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_every_name_builds_its_model(name, kind):
    heads = {"options": {"heads": 2}} if name == "affine" else {"heads": 2}
    model = build(MODELS[name](width=16, **heads), 7)
    assert type(model) is kind
    assert model(torch.zeros(1, 2, dtype=torch.long)).shape == (1, 2, 7)


def test_every_name_is_tested():
    assert set(MODELS) == set(KINDS)
