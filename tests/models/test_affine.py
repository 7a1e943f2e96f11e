"""The affine language model: every law of a model, for every row; packing, padding, and what configs refuse."""

import inspect

import pytest
import torch

from models.subjects import draw, refuses, stir
from scannable import AffineLanguageModel, AffineLanguageModelConfig
from scannable.affine import ROWS
from scannable.testing import (
    assert_batch_independent,
    assert_causal,
    assert_counts,
    assert_duality,
    assert_resume,
)
from scannable.testing._subject import relative

VOCABULARY, EXACT = 11, 1e-12


def affine(row, **fields):
    known = inspect.signature(ROWS[row]).parameters
    small = {name: size for name, size in {"heads": 2, "state": 4}.items() if name in known}
    config = AffineLanguageModelConfig(row=row, width=16, options=small, **fields)
    return AffineLanguageModel(config, VOCABULARY).eval()


@pytest.fixture(params=ROWS)
def model(request):
    return affine(request.param)


def test_every_law_of_a_model_holds_for_every_row(model):
    tokens = draw(2, 13)
    assert_duality(model, tokens)
    assert_causal(model, tokens)
    assert_batch_independent(model, tokens)
    assert_resume(model, tokens, places=3)


def test_a_stream_has_one_size_after_any_number_of_tokens(model):
    report = assert_counts(model, draw(1, 16), memory=1e-9, streamed=False)
    assert "streamed flops" not in report.table[0]
    assert (
        model.prefill(model.start(), draw(1, 150))[1].nbytes
        == model.step(model.start(), draw(1, 1)[0])[1].nbytes
    )


def test_packed_texts_are_read_as_if_each_were_alone(model):
    model = stir(model)
    texts = [draw(1, length, seed=length) for length in (5, 0, 1, 7)]
    packed = model(torch.cat(texts, 1), offsets=[0, 5, 5, 6, 13])
    alone = torch.cat([model(text) for text in texts], 1)
    assert relative(packed, alone) <= EXACT


def test_padding_on_either_side_changes_nothing(model):
    model, tokens = stir(model), draw(2, 9)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, :3] = mask[1, 5:] = False
    padded = model(tokens, mask=mask)
    assert relative(padded[0, 3:], model(tokens[:1, 3:])[0]) <= EXACT
    assert relative(padded[1, :5], model(tokens[1:, :5])[0]) <= EXACT
    for padding in (0, -100, VOCABULARY):
        assert torch.equal(padded[mask], model(torch.where(mask, tokens, padding), mask=mask)[mask])


def test_every_parameter_has_a_gradient_and_the_same_in_both_forms(model):
    model, tokens = stir(model), draw(2, 6)
    found = []
    for steps in (False, True):
        logits, stream = model(tokens), model.start(2)
        if steps:
            pieces = []
            for token in tokens.unbind(1):
                piece, stream = model.step(stream, token)
                pieces.append(piece)
            logits = torch.stack(pieces, 1)
        (logits * torch.linspace(-1, 1, logits.numel()).view(logits.shape)).sum().backward()
        found.append([weight.grad.clone() for weight in model.parameters() if weight.grad is not None])
        model.zero_grad()
    assert len(found[0]) == len(list(model.parameters()))
    for parallel, streamed in zip(*found, strict=True):
        assert relative(streamed, parallel) <= 1e-9


def test_reading_nothing_leaves_the_stream_as_it_is():
    model = affine("gla")
    assert model(draw(2, 0)).shape == (2, 0, VOCABULARY)
    stream = model.start(2)
    logits, after = model.prefill(stream, draw(2, 0), logits="all")
    assert logits.shape == (2, 0, VOCABULARY)
    assert after is stream


def test_implementations_are_one_function_and_a_wrong_name_is_refused():
    tokens, names = draw(2, 9), ("recurrent", "tree", "chunkwise")
    found = [stir(affine("gla", implementation=name))(tokens) for name in names]
    assert relative(found[1], found[0]) <= EXACT
    assert relative(found[2], found[0]) <= EXACT
    with refuses(ValueError, "implementation must be one of", "got 'quick'"):
        AffineLanguageModelConfig(implementation="quick")


def test_without_an_mlp_there_are_only_layers():
    with_mlp, without = affine("mamba"), affine("mamba", mlp=False)
    assert sum(p.numel() for p in without.parameters()) < sum(p.numel() for p in with_mlp.parameters())
    assert without(draw(1, 3)).shape == (1, 3, VOCABULARY)


def test_a_stream_belongs_to_its_model():
    one, other = affine("gla"), affine("mlstm")
    _, stream = one.step(one.start(1), draw(1, 1)[0])
    with refuses(ValueError, "belongs to another model"):
        other.step(stream, draw(1, 1)[0])
    with refuses(ValueError, "A saved stream must have the tensors of this model's streams"):
        other.restore(stream.tensors())


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"row": "lstm"}, ValueError, "row must be one of"),
        ({"options": {"head": 2}}, ValueError, "options of 'gla' must be among ['heads'"),
        ({"options": {"heads": "two"}}, TypeError, "heads of 'gla' must be of type int, got 'two'"),
        ({"options": {"heads": True}}, TypeError, "heads of 'gla' must be of type int, got True"),
        ({"row": "linear-attention", "options": {"feature_map": "exp"}}, TypeError, "feature_map of"),
        ({"width": 0}, ValueError, "width must be at least 1"),
        ({"dropout": 1.0}, ValueError, "dropout must be at least 0"),
    ],
)
def test_configs_that_make_no_sense_are_refused(fields, error, words):
    with refuses(error, words):
        AffineLanguageModelConfig(**fields)


def test_a_row_that_cannot_be_made_is_refused_before_anything_is_built_and_draws_nothing():
    before = torch.get_rng_state()
    with refuses(ValueError, "heads must divide"):
        AffineLanguageModelConfig(width=16, options={"heads": 3})
    AffineLanguageModelConfig(row="mamba", width=16)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_whole_number_may_stand_where_a_float_is_wanted():
    assert AffineLanguageModelConfig(row="mamba", options={"expand": 1, "rank": 2}).options["expand"] == 1
