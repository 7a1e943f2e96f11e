"""Generation: what it draws follows from the model's own logits, for every kind of model."""

import gc
import itertools
from types import SimpleNamespace

import pytest
import torch

from models.subjects import VOCABULARY, decoder, draw, psm, refuses, stir
from scannable import AffineLanguageModel, AffineLanguageModelConfig
from scannable.models import _generate, generate
from scannable.models._generate import sampler


def affine():
    return stir(AffineLanguageModel(AffineLanguageModelConfig(width=16), VOCABULARY))


@pytest.fixture(params=[affine, psm, decoder])
def model(request):
    return request.param()


class ByValue:
    """Hides what kind of model it is, so that only its steps by value can be taken."""

    def __init__(self, model):
        self.start, self.prefill, self.step = model.start, model.prefill, model.step


class Fixed:
    """Says the same of every text."""

    def __init__(self, *logits):
        self.logits = torch.tensor(logits)

    def start(self, batch):
        return batch

    def prefill(self, stream, tokens):
        return self.logits.expand(stream, -1), stream

    def step(self, stream, token):
        return self.prefill(stream, token)


def drawn(*logits, **options):
    """Count what one step draws for many texts side by side."""
    (tokens,) = generate(
        Fixed(*logits), draw(4000, 1), tokens=1, generator=torch.Generator().manual_seed(0), **options
    )
    return torch.bincount(tokens, minlength=len(logits)) / len(tokens)


def test_greedy_tokens_are_the_likeliest_of_the_parallel_form(model):
    text = draw(2, 5)
    for token in model.generate(text, tokens=7, temperature=0.0):
        assert torch.equal(token, model(text)[:, -1].argmax(-1))
        text = torch.cat([text, token[:, None]], 1)
    assert text.shape == (2, 12)


def test_a_temperature_beyond_the_integers_of_a_tensor_makes_all_tokens_alike():
    token = sampler(temperature=10**30, generator=torch.Generator().manual_seed(0))
    assert 400 < token(torch.tensor([[900.0, 0.0]]).expand(1000, 2)).sum() < 600


def test_a_seeded_generator_gives_the_same_tokens_again(model):
    def text(seed):
        generator = torch.Generator().manual_seed(seed)
        return torch.stack(list(model.generate(draw(2, 3), tokens=12, generator=generator)))

    before = torch.get_rng_state()
    assert torch.equal(text(0), text(0))
    assert not torch.equal(text(0), text(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_it_goes_on_for_ever_unless_told_when_to_stop(model):
    endless = model.generate(draw(1, 1))
    assert len(list(itertools.islice(endless, 40))) == 40
    assert len(list(model.generate(draw(1, 1), tokens=3))) == 3
    assert list(model.generate(draw(1, 1), tokens=0)) == []


def test_nothing_remembers_how_to_be_differentiated(model, monkeypatch):
    seen, drawn = [], _generate._draw
    monkeypatch.setattr(
        _generate, "_draw", lambda logits, *options: seen.append(logits) or drawn(logits, *options)
    )
    list(generate(model, draw(1, 2), tokens=3))
    assert len(seen) == 3
    assert not any(logits.requires_grad for logits in seen)


def test_tokens_are_those_of_the_value_form(model):
    prompt, options = draw(2, 3), {"temperature": 0.8, "top_k": 7, "top_p": 0.9}
    found = list(model.generate(prompt, tokens=21, generator=torch.Generator().manual_seed(1), **options))
    expected = generate(
        ByValue(model), prompt, tokens=21, generator=torch.Generator().manual_seed(1), **options
    )
    assert all(torch.equal(token, other) for token, other in zip(found, expected, strict=True))


def test_the_last_token_is_not_read():
    calls = []
    model = Fixed(0.0, 1.0)
    model.step = lambda stream, token: calls.append(token) or model.prefill(stream, token)
    assert len(list(generate(model, draw(1, 1), tokens=4))) == 4
    assert len(calls) == 3


def test_temperature_one_draws_from_the_softmax_and_less_sharpens_it():
    logits = (0.0, 1.0, 2.0)
    for temperature in (1.0, 0.5):
        expected = (torch.tensor(logits) / temperature).softmax(0)
        assert torch.allclose(drawn(*logits, temperature=temperature), expected, atol=0.03)
    for temperature in (1e-30, 1e-40, 1e-300):
        assert drawn(*logits, temperature=temperature).tolist() == [0, 0, 1]


def test_top_k_draws_from_so_many_only_with_their_proportions_kept():
    logits = (3.0, 0.0, 2.9, 2.0)
    expected = torch.tensor([3.0, -torch.inf, 2.9, -torch.inf]).softmax(0)
    assert torch.allclose(drawn(*logits, top_k=2), expected, atol=0.03)
    assert drawn(*logits, top_k=1).tolist() == [1, 0, 0, 0]
    assert torch.equal(drawn(*logits, top_k=4), drawn(*logits))
    assert torch.equal(drawn(*logits, top_k=9), drawn(*logits))
    for count in (1, 2, 3):
        assert (drawn(1.0, 3.0, 3.0, 3.0, 2.0, top_k=count) > 0).sum() == count


def test_top_p_draws_from_the_fewest_that_hold_so_much():
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log().tolist()
    assert drawn(*logits, top_p=0.4).tolist() == [0, 1, 0, 0]
    assert (drawn(*logits, top_p=0.7) > 0).tolist() == [False, True, False, True]
    assert (drawn(*logits, top_p=0.8) > 0).tolist() == [False, True, True, True]
    assert torch.equal(drawn(*logits, top_p=1.0), drawn(*logits))
    for share in (1e-9, 1e-46, 1e-300):
        assert drawn(*logits, top_p=share).tolist() == [0, 1, 0, 0]


def test_both_limits_hold_together():
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log().tolist()
    assert (drawn(*logits, top_k=3, top_p=0.6) > 0).tolist() == [True, True, False, False]


def kept(model, *counts, spoil=lambda logits: None):
    """Write on; list the bytes that the stepper keeps, and the objects in Python, after so many tokens."""
    drawn, logits = sampler(generator=torch.Generator().manual_seed(0)), torch.zeros(1, VOCABULARY)
    reader, found = model.stepper(model.start()), []
    gc.freeze()  # what other tests left is not counted
    for count in range(1, counts[-1] + 1):
        logits = reader.step(drawn(logits))
        spoil(logits)
        if count in counts:
            gc.collect()
            found.append((reader.nbytes, len(gc.get_objects())))
    gc.unfreeze()
    return [torch.tensor(column) for column in zip(*found, strict=True)]


@pytest.mark.slow
def test_two_thousand_tokens_of_a_psm_keep_a_root_and_a_fold_for_each_level():
    model = psm()
    state = model.chunk * 16 * 8  # width, and bytes of a number
    sizes, objects = kept(model, 1, 1030, 2000)
    assert (sizes - sizes[0]).tolist() == [0, 2 * 9 * state, 2 * 9 * state]  # 500 chunks are below 2 ** 9
    assert objects[2] - objects[1] < 10


@pytest.mark.parametrize("make", [lambda: decoder(window=6, positions="rotary"), affine])
def test_a_text_without_end_needs_no_memory_in_a_window_or_an_affine_model(make):
    sizes, objects = kept(make(), 10, 300)
    assert sizes[0] == sizes[1]
    assert objects[1] - objects[0] < 10


def test_memory_that_grows_shows():
    seen = []
    sizes, objects = kept(decoder(positions="rotary"), 10, 60, spoil=seen.append)
    assert sizes[1] > 2 * sizes[0]
    assert objects[1] - objects[0] >= 50


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": -1.0}, "temperature >= 0"),
        ({"temperature": float("nan")}, "temperature >= 0"),
        ({"temperature": float("inf")}, "temperature >= 0"),
        ({"temperature": 10**400}, "temperature >= 0"),
        ({"top_k": 0}, "top_k >= 1"),
        ({"top_k": 2.5}, "a whole top_k"),
        ({"top_p": 0.0}, "0 < top_p <= 1"),
        ({"top_p": 1.5}, "0 < top_p <= 1"),
        ({"tokens": -1}, "tokens must be a whole number, at least 0, got -1"),
        ({"tokens": 2.5}, "tokens must be a whole number, at least 0, got 2.5"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_the_first_token(options, words):
    with refuses(ValueError, words):
        generate(SimpleNamespace(), draw(1, 1), **options)


def test_a_prompt_needs_a_token_and_a_batch():
    for prompt in (draw(1, 0), torch.zeros(3, dtype=torch.long)):
        with refuses(ValueError, "A prompt must have shape (B, T >= 1)"):
            affine().generate(prompt)
    with refuses(TypeError, "A prompt must be a tensor, got list"):
        affine().generate([[1]])
