"""The head is a linear map, its weights those of the embedding or its own."""

import torch

from scannable.models._head import Head
from scannable.modules import Codes


def test_a_tied_head_measures_likeness_to_embeddings():
    tokens, x = Codes(7, 4, norm=2.0), torch.randn(2, 3, 4)
    head = Head(tokens, tied=True, scale=3.0)
    assert head.codes is tokens
    assert torch.allclose(head(x), 3 * torch.einsum("btd,vd->btv", x, tokens.vectors()), atol=1e-6)


def test_an_untied_head_has_its_own_weights():
    tokens = Codes(7, 4)
    head = Head(tokens, tied=False)
    assert head.codes is not tokens
    assert head.codes.weight.shape == (7, 4)
