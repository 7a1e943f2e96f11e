"""Snapped states are codes to the bit, and learn as if they were soft."""

import pytest
import torch

from models.subjects import draw, psm, refuses, stir, stream_by
from scannable.modules import Codebook, Codes, GatedSum
from scannable.scans import scan
from scannable.testing import assert_duality


def book(vectors, **switches):
    codes = Codes(*vectors.shape)
    codes.weight = torch.nn.Parameter(vectors.clone())
    return Codebook(stir(GatedSum(vectors.shape[-1])), codes, **switches)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def is_code(states, codes):
    """Whether each vector is one of the codes, bit by bit."""
    return (states.unsqueeze(-2) == codes).all(-1).any(-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("gradients", [False, True])
def test_a_snapped_state_is_the_nearest_code_to_the_bit(dtype, gradients):
    codes, states = normal(50, 4).to(dtype), normal(7, 3, 4, seed=1).to(dtype)
    with torch.set_grad_enabled(gradients):
        snapped = book(codes).snap(states)
    assert is_code(snapped, codes).all()
    if dtype == torch.float64:
        nearest = torch.cdist(states, codes).argmin(-1)
        assert torch.equal(snapped, codes[nearest])


def test_in_bfloat16_too_the_nearest_code_is_found():
    codes, states = normal(1024, 128).bfloat16(), normal(500, 128, seed=1).bfloat16()
    nearest = torch.cdist(states.double(), codes.double()).argmin(-1)
    assert torch.equal(book(codes).bfloat16().snap(states), codes[nearest])


def test_merged_states_are_codes_wherever_they_are_merged():
    aggregator, leaves = book(normal(50, 4)), normal(2, 13, 3, 4, seed=1)
    states = scan(aggregator, leaves, inclusive=True)
    assert is_code(states[:, 1:], aggregator.codes.weight).all()
    assert not is_code(states[:, 0], aggregator.codes.weight).any()
    assert_duality(aggregator, leaves, gradients=True)


def test_a_tie_goes_to_the_lowest_index():
    codes = torch.tensor([[3.0, 0], [1, 0], [-1, 0], [1, 0]], dtype=torch.float64)
    snapped = book(codes).snap(torch.zeros(1, 2, dtype=torch.float64))
    assert torch.equal(snapped, codes[1:2])


def test_an_over_complete_and_a_poor_codebook_both_work():
    for count in (1, 2, 500):
        aggregator = book(normal(count, 4))
        states = scan(aggregator, normal(2, 9, 4, seed=1), inclusive=True)
        assert len(states[:, 1:].flatten(0, 1).unique(dim=0)) <= count


def test_the_backward_pass_is_that_of_the_soft_code():
    codes, temperature = normal(9, 4), 0.7
    states = normal(5, 4, seed=1).requires_grad_()
    aggregator, cotangent = book(codes, temperature=temperature), normal(5, 4, seed=2)
    sources = [states, aggregator.codes.weight]
    got = torch.autograd.grad((aggregator.snap(states) * cotangent).sum(), sources)
    distances = torch.cdist(states, aggregator.codes.weight).square()
    soft = torch.softmax(-distances / (2 * temperature), -1) @ aggregator.codes.weight
    expected = torch.autograd.grad((soft * cotangent).sum(), sources)
    for x, y in zip(got, expected, strict=True):
        assert torch.allclose(x, y, rtol=1e-10, atol=1e-12)


def test_a_cold_code_stands_for_itself():
    """As the temperature falls the soft code becomes the code, and its gradient all the code's own."""
    codes, states = normal(9, 4), normal(5, 4, seed=1).requires_grad_()
    aggregator = book(codes, temperature=1e-4)
    snapped = aggregator.snap(states)
    to_states, to_codes = torch.autograd.grad(snapped.sum(), [states, aggregator.codes.weight])
    used = is_code(aggregator.codes.weight.unsqueeze(0), snapped.detach()).squeeze(0)
    assert to_states.abs().max() < 1e-6
    assert torch.allclose(to_codes[~used], torch.zeros((), dtype=torch.float64), atol=1e-6)


def test_a_stopped_gradient_is_none_and_the_value_the_same():
    states = normal(5, 4, seed=1).requires_grad_()
    soft, stopped = (book(normal(9, 4), gradient=gradient).snap(states) for gradient in ("soft", "stop"))
    assert torch.equal(soft, stopped)
    assert soft.requires_grad
    assert not stopped.requires_grad


def test_codes_of_one_length_are_nearest_by_angle():
    model = psm(codebook="tied", norm=2.0, logit_scale=3.0)
    codes = model.encoder.tokens.vectors()
    assert torch.allclose(codes.norm(dim=-1), torch.tensor(2.0, dtype=torch.float64))
    states = normal(20, 16)
    assert torch.equal(model.aggregator.snap(states), codes[(states @ codes.T).argmax(-1)])


def test_gradients_reach_the_aggregator_and_the_codes():
    for codebook in ("own", "tied"):
        model = psm(codebook=codebook)
        model(draw(2, 14)).square().sum().backward()
        for weight in (
            model.aggregator.codes.weight,
            model.aggregator.aggregator.stack.blocks[0].mlp[0].weight,
        ):
            assert weight.grad is not None
            assert weight.grad.abs().max() > 0


def test_nan_is_passed_on_and_not_taken_for_a_code():
    states = normal(3, 4)
    states[1, 2] = torch.nan
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            snapped = book(normal(9, 4, seed=1)).snap(states)
        assert snapped[1].isnan().any()
        assert snapped[[0, 2]].isfinite().all()


@pytest.mark.parametrize("norm", [None, 2.0])
def test_a_codebook_tied_to_the_embedding_closes_the_algebra(norm):
    """Leaves are codes and so are merged states: all states there are can be counted."""
    model = psm(codebook="tied", chunk=1, norm=norm)
    assert model.aggregator.codes is model.encoder.tokens
    codes = model.encoder.tokens.vectors()
    assert is_code(model.encoder(draw(2, 9)), codes).all()
    with torch.no_grad():
        _, stream = stream_by(model, draw(2, 23), [7, 16])
    for state in (*stream.counter.roots, *stream.counter.folds):
        assert state is None or is_code(state, codes).all()


def test_a_temperature_must_be_positive():
    for temperature in (0, -1.0, float("nan")):
        with refuses(ValueError, "temperature must be positive", str(temperature)):
            book(normal(3, 4), temperature=temperature)


def test_an_unknown_gradient_is_refused():
    with refuses(ValueError, "['soft', 'stop'], got 'none'"):
        book(normal(3, 4), gradient="none")
