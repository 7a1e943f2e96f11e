"""The head is a linear map, its weights those of the embedding or its own."""

import torch
from torch import nn

from scannable.models._head import Head


def test_a_tied_head_measures_likeness_to_embeddings():
    embedding, x = nn.Embedding(7, 4), torch.randn(2, 3, 4)
    head = Head(embedding, tied=True)
    assert head.weight is embedding.weight
    assert torch.allclose(head(x), torch.einsum("btd,vd->btv", x, embedding.weight))


def test_an_untied_head_has_its_own_weights():
    embedding = nn.Embedding(7, 4)
    head = Head(embedding, tied=False)
    assert head.weight is not embedding.weight
    assert head.weight.shape == (7, 4)
    assert 0.01 < float(head.weight.std()) < 0.03
