"""Embeddings by place, and the ids and places that are refused."""

import pytest
import torch

from models.subjects import VOCABULARY, decoder, draw, psm, refuses, stir
from scannable import AffineLanguageModel, AffineLanguageModelConfig
from scannable.modules import TokenEncoder, VectorEncoder

IDS = torch.tensor([[3, 1, 4], [1, 5, 9]])


def affine(**switches):
    return stir(AffineLanguageModel(AffineLanguageModelConfig(width=16, row="gla", **switches), VOCABULARY))


def test_without_positions_a_leaf_is_rows_of_the_embedding():
    encoder = TokenEncoder(10, 4)
    assert torch.equal(encoder(IDS), encoder.tokens.weight[IDS])
    assert torch.equal(encoder(IDS, 7), encoder(IDS))
    assert not encoder.absolute


def test_scaled_vectors_begin_with_the_root_of_the_width_for_a_length():
    encoder = TokenEncoder(10, 400, scaled=True)
    assert torch.equal(encoder(IDS), 20 * encoder.tokens.weight[IDS])
    assert torch.allclose(encoder(IDS).norm(dim=-1), torch.tensor(20.0), rtol=0.2)


@pytest.mark.parametrize("model", [psm, decoder, affine])
def test_scaled_every_model_reads_longer_vectors_and_says_the_same_of_them(model):
    plain, scaled = model(tied=False), model(tied=False, scaled=True)
    encoder = scaled.encoder if hasattr(scaled, "encoder") else scaled.embed
    encoder.tokens.weight.data /= 16**0.5
    tokens = draw(2, 13)
    assert torch.allclose(scaled(tokens), plain(tokens), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("positions", ["chunk", "global"])
def test_a_place_is_added_for_each_token(positions):
    encoder = TokenEncoder(10, 4, positions=positions, limit=20)
    assert encoder.absolute == (positions == "global")
    tokens, places = encoder.tokens.weight, encoder.places.weight
    assert torch.equal(encoder(IDS, 5), tokens[IDS] + places[5:8])
    each = encoder(IDS, torch.tensor([2, 9]))
    assert torch.equal(each, tokens[IDS] + torch.stack([places[2:5], places[9:12]]))
    assert encoder(IDS[:, :0], 20).shape == (2, 0, 4)


def test_places_beyond_the_learned_ones_are_refused():
    encoder = TokenEncoder(10, 4, positions="global", limit=20)
    for position, first, last in ((18, 18, 20), (torch.tensor([0, -1]), -1, 2)):
        with refuses(ValueError, "end at 20", f"tokens at {first} to {last}", "train with a larger `limit`"):
            encoder(IDS, position)


def test_what_is_no_id_is_refused():
    encoder = TokenEncoder(9, 4)
    with refuses(ValueError, "in 0..8", "from 1 to 9", "another vocabulary"):
        encoder(IDS)
    with refuses(ValueError, "in 0..8", "from -1 to 7"):
        encoder(IDS - 2)
    for dtype in (torch.float32, torch.int32, torch.bool):
        with refuses(TypeError, "torch.int64", str(dtype), ".long()"):
            encoder(IDS.to(dtype))


@pytest.mark.parametrize(("positions", "limit"), [("globl", 8), ("chunk", 0), ("global", 0)])
def test_positions_that_cannot_be_are_refused(positions, limit):
    with refuses(ValueError, "('none', 'chunk', 'global')", f"{positions!r} and limit={limit}", "change one"):
        TokenEncoder(9, 4, positions=positions, limit=limit)


def test_torch_func_goes_over_tokens():
    encoder = TokenEncoder(10, 4, positions="global", limit=20)
    rows = IDS[:, None]
    assert torch.equal(torch.vmap(encoder)(rows)[:, 0], encoder(IDS))
    weights = dict(encoder.named_parameters())

    def total(weights, row):
        return torch.func.functional_call(encoder, weights, (row,)).sum()

    each = torch.vmap(torch.func.grad(total), (None, 0))(weights, rows)
    for one, row in zip(each["tokens.weight"], rows, strict=True):
        assert torch.equal(one, torch.func.grad(total)(weights, row)["tokens.weight"])


def test_vectors_are_taken_as_they_are():
    vectors = torch.randn(2, 3, 4)
    assert VectorEncoder()(vectors) is vectors
