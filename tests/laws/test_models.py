"""Parallel = token by token = any split of prefill, for every switch; and gradients likewise."""

import itertools

import pytest
import torch

from models.subjects import POSITIONS, decoder, draw, every_switch, psm, splits, stream_by
from scannable import PrefixScannableMixer
from scannable.testing import assert_batch_independent, assert_causal, assert_resume
from scannable.testing._subject import relative

EXACT = 1e-12


def lengths_of(chunk):
    return sorted({0, 1, 2, chunk - 1, chunk, chunk + 1, 2 * chunk, 3 * chunk + 2, 23})


def assert_one_function(model, tokens, chunk, what):
    """All ways of streaming give what the parallel form gives, at every length."""
    longest = tokens.shape[1]
    steps, _ = stream_by(model, tokens, [0] * longest)
    for length in lengths_of(chunk):
        some = tokens[:, :length]
        expected = model(some)
        assert expected.shape[:2] == some.shape[:2], what
        assert relative(steps[:, :length], expected) <= EXACT, (what, length, "steps")
    for name, sizes in splits(longest, chunk):
        assert relative(stream_by(model, tokens, sizes)[0], expected) <= EXACT, (what, name)
    for length in lengths_of(chunk)[1:]:
        last, stream = model.prefill(model.start(len(tokens)), tokens[:, :length])
        assert relative(last, expected[:, length - 1]) <= EXACT, (what, length, "last")
        assert stream.count == length


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("chunk", [1, 4, 5])
def test_a_transformer_psm_is_one_function(chunk, positions):
    with torch.no_grad():
        for i, switches in enumerate(every_switch()):
            model, tokens = psm(chunk=chunk, positions=positions, **switches), draw(1 + i % 2, 3 * chunk + 2)
            expected = model(tokens)
            for sizes in ([0] * (3 * chunk + 2), [1, 2 * chunk + 1, chunk]):
                assert relative(stream_by(model, tokens, sizes)[0], expected) <= EXACT, (switches, sizes)


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_transformer_psm_is_one_function_at_every_length(positions):
    with torch.no_grad():
        for chunk, identity in ((1, "flag"), (4, "learned"), (5, "flag")):
            for inference in ("concatenated", "cross"):
                model = psm(
                    chunk=chunk, positions=positions, identity=identity, codebook="own", inference=inference
                )
                assert_one_function(model, draw(2, 23), chunk, (chunk, inference))


@pytest.mark.parametrize("positions", ["absolute", "rotary", "none"])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_decoder_is_one_function(positions, batch):
    with torch.no_grad():
        for window in (None, 1, 4, 7, 22, 23, 40):
            model = decoder(positions=positions, window=window)
            assert_one_function(model, draw(batch, 23), 4, (positions, window))


def gradients(model, outputs, cotangent):
    sources = list(model.parameters())
    return torch.autograd.grad(
        (outputs * cotangent).sum(), sources, materialize_grads=True, allow_unused=True
    )


def assert_same_gradients(model, tokens, chunk, what):
    length = tokens.shape[1]
    parallel = model(tokens)
    cotangent = torch.randn(parallel.shape, dtype=torch.float64)
    expected = gradients(model, parallel, cotangent)
    assert all(torch.isfinite(g).all() for g in expected)
    for sizes in ([0] * length, [1, 2 * chunk + 1, length - 2 * chunk - 2]):
        got = gradients(model, stream_by(model, tokens, sizes)[0], cotangent)
        together = [torch.cat([g.flatten() for g in gs]) for gs in (got, expected)]
        assert relative(*together) <= EXACT, (what, sizes)
    last, _ = model.prefill(model.start(len(tokens)), tokens)
    only_last = torch.zeros_like(parallel)
    only_last[:, -1] = cotangent[:, -1]
    got = gradients(model, last, cotangent[:, -1])
    expected = gradients(model, model(tokens), only_last)
    together = [torch.cat([g.flatten() for g in gs]) for gs in (got, expected)]
    assert relative(*together) <= EXACT, (what, "last")


@pytest.mark.parametrize("positions", POSITIONS)
def test_both_forms_of_a_transformer_psm_have_the_same_gradients(positions):
    start = POSITIONS.index(positions)
    some = itertools.islice(every_switch(), start, None, 7)
    for chunk, switches in zip(itertools.cycle((4, 1, 5)), some, strict=False):
        model = psm(chunk=chunk, positions=positions, **switches)
        assert_same_gradients(model, draw(2, max(7, 2 * chunk + 3)), chunk, switches)


@pytest.mark.parametrize("positions", ["absolute", "rotary", "none"])
def test_both_forms_of_the_decoder_have_the_same_gradients(positions):
    for window in (None, 3):
        assert_same_gradients(decoder(positions=positions, window=window), draw(2, 14), 4, window)


def test_recomputation_changes_no_gradient():
    tokens, found = draw(2, 23), []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = psm(codebook="own", identity="learned", recompute=recompute)
        found.append(gradients(model, model(tokens), 1.0))
    assert all(torch.equal(x, y) for x, y in zip(*found, strict=True))


SUBJECTS = {
    "slot": lambda: psm(),
    "rotary, learned": lambda: psm(positions="rotary", identity="learned", chunk=3),
    "shared, codes": lambda: psm(shared=True, codebook="tied", chunk=1),
    "global, causal": lambda: psm(positions="global", aggregator_mask="causal"),
    "cross": lambda: psm(inference="cross"),
    "decoder": lambda: decoder(),
}


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
def test_a_later_token_changes_no_bit_of_earlier_logits(subject):
    report = assert_causal(subject(), draw(2, 19))
    assert report["places where not a bit changed"] == report["places"] == 19
    assert report["places where the token is seen"] == 19


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
def test_rows_of_a_batch_are_strangers(subject):
    assert_batch_independent(subject(), draw(3, 19))


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
def test_a_stream_that_was_saved_or_forked_goes_on_to_the_bit(subject):
    assert_resume(subject(), draw(2, 19), places=6)


def test_the_mixer_is_one_function_with_gradients_to_its_input():
    model = PrefixScannableMixer(8, heads=2, chunk=3).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
        assert_one_function(model, torch.randn(2, 23, 8, dtype=torch.float64), 3, "mixer")
    vectors = torch.randn(2, 11, 8, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(2, 11, 8, dtype=torch.float64)
    expected, got, pieces = (
        torch.autograd.grad((form * cotangent).sum(), vectors)[0]
        for form in (
            model(vectors),
            stream_by(model, vectors, [0] * 11)[0],
            stream_by(model, vectors, [2, 7, 2])[0],
        )
    )
    assert relative(got, expected) <= EXACT
    assert relative(pieces, expected) <= EXACT
