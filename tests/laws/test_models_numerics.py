"""Rounding, dtypes, determinism: what a model may and may not do to the last bits."""

import copy

import pytest
import torch
from torch.nn import functional

from models.subjects import POSITIONS, decoder, draw, psm, stir, stream_by
from scannable import (
    AffineLanguageModel,
    AffineLanguageModelConfig,
    PrefixScannableMixer,
    TransformerPSM,
    TransformerPSMConfig,
)
from scannable.models import build
from scannable.models._decoder import DecoderConfig
from scannable.modules import MLP, GatedSum, MatrixProduct, TreeLSTM
from scannable.scans import scan
from scannable.testing import assert_duality


@pytest.mark.parametrize("positions", POSITIONS)
def test_streaming_in_float32_is_as_good_as_the_parallel_form(positions):
    assert_duality(psm(positions=positions, width=32, limit=128), draw(2, 35))


@pytest.mark.parametrize("positions", ["absolute", "rotary"])
def test_the_decoder_in_float32_is_as_good_streamed(positions):
    assert_duality(decoder(positions=positions, width=32, limit=128), draw(2, 35))


@pytest.mark.parametrize("row", ["deltanet", "deltaproduct", "mlstm"])
@pytest.mark.parametrize("seed", range(8))
def test_few_tokens_of_a_model_that_amplifies_some_errors_do_not_decide(row, seed):
    torch.manual_seed(seed)
    model = AffineLanguageModel(AffineLanguageModelConfig(row=row, width=16, layers=2), 5)
    assert_duality(model, torch.randint(0, 5, (3, 9)))


def test_states_are_float32_under_autocast_and_logits_are_close():
    """Matrix products run in bfloat16; states, which live long, and the codes they are snapped to do not."""
    tokens = draw(2, 19)
    for switches in ({}, {"codebook": "own"}, {"identity": "learned", "shared": True}):
        model = psm(**switches).float()
        expected = model(tokens)
        with torch.autocast("cpu", torch.bfloat16):
            got = model(tokens)
            steps, stream = stream_by(model, tokens, [0] * 7 + [12])
            again, _ = model.step(model.restore(stream.tensors()), tokens[:, 0])
        if not switches.get("codebook"):
            assert (got - expected).abs().max() < 0.05 * expected.abs().max()
            assert (steps - expected).abs().max() < 0.05 * expected.abs().max()
        assert all(x.dtype == torch.float32 for x in stream.counter.roots if x is not None)
        assert again.isfinite().all()


def test_a_mixer_takes_the_bfloat16_vectors_of_an_autocast_network():
    mixer = PrefixScannableMixer(8, heads=2, chunk=3)
    with torch.autocast("cpu", torch.bfloat16):
        vectors = torch.nn.Linear(8, 8)(torch.randn(2, 11, 8))
        assert vectors.dtype == torch.bfloat16
        steps, stream = stream_by(mixer, vectors, [0] * 5 + [6])
        assert (mixer(vectors) - steps).abs().max() < 0.05
    assert all(x.dtype == torch.float32 for x in stream.counter.roots if x is not None)


@pytest.mark.parametrize(
    "aggregator", [GatedSum(4), MLP(4, 8), TreeLSTM(4), MatrixProduct()], ids=lambda a: type(a).__name__
)
def test_aggregators_keep_the_dtype_of_states_under_autocast(aggregator):
    aggregator, leaves = stir(aggregator).float(), torch.randn(2, 5, 4, 4)
    leaves = (leaves, leaves.flip(1)) if isinstance(aggregator, TreeLSTM) else leaves
    with torch.autocast("cpu", torch.bfloat16):
        states = scan(aggregator, leaves)
    expected = scan(aggregator, leaves)
    for got, true in zip(*(x if isinstance(x, tuple) else (x,) for x in (states, expected)), strict=True):
        assert got.dtype == torch.float32
        assert (got - true).norm() <= 0.05 * true.norm()
    if isinstance(aggregator, MatrixProduct):
        assert torch.equal(states, expected)


def test_a_model_in_bfloat16_streams_too():
    model = psm().bfloat16()
    logits, stream = stream_by(model, draw(2, 11), [0] * 5 + [6])
    assert logits.dtype == torch.bfloat16
    assert stream.counter.prefix.dtype == torch.bfloat16
    assert (logits.double() - psm()(draw(2, 11))).abs().max() < 1


def train_a_little(config):
    torch.manual_seed(3)
    model = build(config, 11)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(3):
        tokens = draw(2, 14, seed=step)
        loss = functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()(tokens)


@pytest.mark.parametrize(
    "config",
    [
        TransformerPSMConfig(width=16, heads=2, chunk=4, codebook="own", dropout=0.1, recompute=True),
        TransformerPSMConfig(width=16, heads=2, chunk=3, positions="global", identity="learned"),
        DecoderConfig(width=16, heads=2, dropout=0.1),
    ],
    ids=["codebook", "global", "decoder"],
)
def test_one_seed_gives_one_model_to_the_bit_with_deterministic_algorithms(config):
    torch.use_deterministic_algorithms(True)
    try:
        first, second = train_a_little(config), train_a_little(config)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first, second)


@pytest.mark.parametrize("recompute", [False, True])
def test_dropout_acts_in_both_forms_while_training(recompute):
    model = stir(
        TransformerPSM(TransformerPSMConfig(width=16, heads=2, chunk=4, dropout=0.5, recompute=recompute), 11)
    )
    tokens = draw(2, 14)
    still = model(tokens)
    assert torch.equal(model(tokens), still)
    model.train()
    assert not torch.equal(model(tokens), model(tokens))
    for sizes in ([0] * 14, [14]):
        one, other = (stream_by(model, tokens, sizes)[0] for _ in range(2))
        assert not torch.equal(one, other)
        assert one.isfinite().all()
    model(tokens).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_copy_of_a_model_is_the_same_function_and_keeps_its_ties():
    model = psm(codebook="tied")
    twin = copy.deepcopy(model)
    assert torch.equal(model(draw(2, 14)), twin(draw(2, 14)))
    assert twin.head.codes is twin.encoder.tokens
    assert twin.aggregator.codes is twin.encoder.tokens
    assert twin.inference.embed is twin.encoder
