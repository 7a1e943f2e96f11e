"""Scoring a text is what a plain loop over its tokens would do, in any reading, form and batch."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from agreement import refused
from models.subjects import stir
from scannable.data import Text
from scannable.models import (
    AffineLanguageModelConfig,
    DecoderConfig,
    TransformerPSM,
    TransformerPSMConfig,
    build,
)
from scannable.models._head import Head
from scannable.modules import Codes
from scannable.testing import CountingAggregator
from scannable.training import score
from training.runs import assert_choice_is_refused

LENGTH, CHUNK = 12, 4
SMALL = {"width": 16, "heads": 2}
CONFIGS = {
    "psm": TransformerPSMConfig(**SMALL, chunk=CHUNK, inference_layers=1),
    "cross": TransformerPSMConfig(**SMALL, chunk=CHUNK, inference_layers=1, inference="cross"),
    "rotary": DecoderConfig(**SMALL, layers=1, positions="rotary"),
    "window": DecoderConfig(**SMALL, layers=1, positions="rotary", window=6),
    "affine": AffineLanguageModelConfig(width=16, layers=1),
}


def bytes_of(count, *starts, seed=0):
    ids = np.random.default_rng(seed).integers(0, 256, count).astype(np.uint16)
    return Text(ids=ids, starts=np.array([0, *starts]), tokenizer="bytes")


TEXT = bytes_of(101, 7, 8, 32, 60)  # one article has one token, one has whole chunks


@pytest.fixture(params=CONFIGS)
def model(request):
    return stir(build(CONFIGS[request.param], 256))


def by_window(model, text):
    """Score window by window with the model's logits."""
    ids, nats = torch.from_numpy(text.ids.astype(np.int64)), []
    for start in range(0, len(ids) - 1, LENGTH):
        window = ids[start : start + LENGTH]
        logarithms = model(window[None])[0].log_softmax(-1)
        known = range(min(len(window), len(ids) - 1 - start))
        nats += [-float(logarithms[place, ids[start + place + 1]]) for place in known]
    return np.array(nats)


def by_step(model, text):
    """Score token by token, with a new stream where an article begins."""
    ids, stream, nats = torch.from_numpy(text.ids.astype(np.int64)), model.start(1), []
    for place in range(1, len(ids)):
        if place in text.starts:
            stream = model.start(1)
        logits, stream = model.step(stream, ids[place - 1 : place])
        nats.append(-float(logits[0].log_softmax(-1)[ids[place]]))
    return np.array(nats)


def distance(scores, nats):
    assert scores.nats.shape == nats.shape
    return np.abs(scores.nats - nats).max()


@torch.no_grad()
def test_blocked_is_a_loop_over_windows(model):
    for tokens in (1, 2 * LENGTH, 65_536):
        scores = score(model, TEXT, length=LENGTH, reading="blocked", tokens=tokens)
        assert distance(scores, by_window(model, TEXT)) < 1e-10
    assert scores.places.tolist() == [i % LENGTH for i in range(100)]


@torch.no_grad()
def test_carried_is_a_loop_over_steps_with_a_new_stream_for_each_article(model):
    for text in (TEXT, bytes_of(40), bytes_of(40, 1), bytes_of(40, 39), bytes_of(61, 21, 41)):
        scores = score(model, text, length=LENGTH, reading="carried")
        assert distance(scores, by_step(model, text)) < 1e-10
        heads = {0, *(text.starts[1:] - 1)}
        assert set(np.flatnonzero(scores.places == 0)) == heads


@pytest.mark.parametrize("length", [2, 5, LENGTH, 64])
def test_a_window_is_streamed_in_pieces_however_short(model, monkeypatch, length):
    begun, steps, step = [], [], model.step
    start = type(model).start
    monkeypatch.setattr(model, "start", lambda batch: begun.append(batch) or start(model, batch))
    monkeypatch.setattr(model, "step", lambda *given: steps.append(given) or step(*given))
    score(model, TEXT, length=length, reading="blocked", form="streaming")
    assert len(steps) >= len(begun) > 0


@pytest.mark.parametrize("reading", ["blocked", "carried"])
def test_streaming_is_parallel_however_it_is_cut(model, reading):
    parallel = score(model, TEXT, length=LENGTH, reading=reading)
    for piece, singles in ((1, 0), (5, 3), (8, 0), (512, 4)):
        streamed = score(
            model, TEXT, length=LENGTH, reading=reading, form="streaming", piece=piece, singles=singles
        )
        assert distance(streamed, parallel.nats) < 1e-10
        assert abs(streamed.loss - parallel.loss) < 1e-10
        assert (streamed.places == parallel.places).all()


def test_both_readings_score_the_same_tokens():
    # What this model says depends on the last token alone, so what is carried cannot matter.
    bigrams = stir(build(DecoderConfig(**SMALL, layers=1, positions="none", window=1), 256))
    blocked, carried = (
        score(bigrams, TEXT, length=LENGTH, reading=reading) for reading in ("blocked", "carried")
    )
    assert distance(blocked, carried.nats) < 1e-10
    assert (blocked.articles == carried.articles).all()
    assert np.bincount(blocked.articles).tolist() == [6, 1, 24, 28, 41]


class Counts(nn.Module):
    """Is sure that each token is so many more than the last."""

    def __init__(self, more):
        super().__init__()
        codes = Codes(256, 256).double()
        nn.init.eye_(codes.weight)
        self.more, self.head = more, Head(codes, tied=True, scale=50.0)

    def features(self, tokens):
        return nn.functional.one_hot((tokens + self.more) % 256, 256).double()


def test_a_target_is_the_token_after_its_output():
    text = Text(ids=np.arange(256, dtype=np.uint16), starts=np.array([0, 100]), tokenizer="bytes")
    for reading in ("blocked", "carried"):
        right, early, late = (score(Counts(more), text, length=LENGTH, reading=reading) for more in (1, 0, 2))
        assert right.perplexity == pytest.approx(1)
        assert early.nats.min() > 49
        assert late.nats.min() > 49


@torch.no_grad()
def test_targets_that_are_off_by_one_are_caught(model, monkeypatch):
    right = Head.losses
    monkeypatch.setattr(Head, "losses", lambda head, x, targets: right(head, x, targets.roll(1, -1)))
    assert distance(score(model, TEXT, length=LENGTH, reading="blocked"), by_window(model, TEXT)) > 0.1
    assert distance(score(model, TEXT, length=LENGTH, reading="carried"), by_step(model, TEXT)) > 0.1


@pytest.mark.parametrize("reading", ["blocked", "carried"])
def test_a_model_that_sees_the_future_is_caught_by_its_streaming_form(model, reading, monkeypatch):
    features = model.features
    monkeypatch.setattr(model, "features", lambda tokens: features(tokens.roll(-1, 1)))
    parallel, streamed = (
        score(model, TEXT, length=LENGTH, reading=reading, form=form) for form in ("parallel", "streaming")
    )
    assert distance(parallel, streamed.nats) > 0.1


@pytest.mark.parametrize("form", ["parallel", "streaming"])
@pytest.mark.parametrize("reading", ["blocked", "carried"])
def test_as_many_merges_are_reported_as_are_made(reading, form):
    psm = stir(TransformerPSM(CONFIGS["psm"], 256))
    psm.aggregator = CountingAggregator(psm.aggregator)
    for text in (TEXT, bytes_of(100), bytes_of(97), bytes_of(3), bytes_of(66, 1, 33)):
        for length in (5, 8, 24, 65, 200):
            scores = score(psm, text, length=length, reading=reading, form=form, piece=6, singles=1)
            assert scores.merges == psm.aggregator.take()[0]
    assert score(stir(build(CONFIGS["rotary"], 256)), TEXT, length=8, reading=reading).merges is None


@pytest.mark.parametrize(("chunk", "share"), [(256, 0), (128, 1 / 2), (64, 3 / 4), (32, 7 / 8)])
def test_the_share_of_windows_of_512_that_reads_a_merged_state(chunk, share):
    psm = stir(TransformerPSM(TransformerPSMConfig(width=4, heads=1, chunk=chunk, inference_layers=1), 256))
    psm.aggregator = CountingAggregator(psm.aggregator)
    scores = score(psm, bytes_of(1025), length=512, reading="blocked")
    assert scores.merged_share == share
    assert (scores.merges > 0) == (share > 0)
    assert psm.aggregator.rows == scores.merges


def test_the_authors_subset_is_what_their_windows_leave():
    psm = stir(TransformerPSM(CONFIGS["psm"], 256))
    for length in (LENGTH, 10):
        scores, kept, ids = score(psm, TEXT, length=length, reading="blocked"), [], TEXT.ids.astype(np.int64)
        for start in range(0, len(ids), length):
            window = torch.from_numpy(ids[start : start + length])
            with torch.no_grad():
                logarithms = psm(window[None])[0].log_softmax(-1)
            kept += [float(logarithms[i - 1, window[i]]) for i in range(len(window)) if i % CHUNK]
        assert scores.authors_subset_perplexity == pytest.approx(np.exp(-np.mean(kept)), rel=1e-10)
        assert scores.authors_subset_perplexity != pytest.approx(scores.perplexity, rel=1e-3)


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary(model, device):
    with torch.no_grad():
        model.embed.tokens.weight.zero_() if hasattr(model, "embed") else model.encoder.tokens.weight.zero_()
    for reading in ("blocked", "carried"):
        scores = score(model.to(device), TEXT, length=LENGTH, reading=reading)
        assert scores.perplexity == pytest.approx(256, rel=1e-12)
        assert scores.bits_per_byte == pytest.approx(8, rel=1e-12)
        assert scores.interval == pytest.approx((256, 256), rel=1e-12)


def test_bfloat16_is_near_float32_and_is_used(model):
    model = model.float()
    exact, rough = (
        score(model, TEXT, length=LENGTH, reading="blocked", precision=name)
        for name in ("float32", "bfloat16")
    )
    assert 0 < distance(rough, exact.nats) < 0.5
    assert abs(rough.loss - exact.loss) < 0.05


def test_memory_is_bounded_by_the_tokens_given_at_once(monkeypatch):
    psm, sizes = stir(TransformerPSM(CONFIGS["psm"], 256)), []
    features = psm.features
    monkeypatch.setattr(psm, "features", lambda tokens: sizes.append(tokens.shape) or features(tokens))
    score(psm, TEXT, length=LENGTH, reading="blocked", tokens=3 * LENGTH + 1)
    assert sizes == [(3, LENGTH), (3, LENGTH), (2, LENGTH), (1, 4)]


def test_scoring_leaves_the_model_as_it_was_and_drops_nothing_out():
    model = build(DecoderConfig(**SMALL, layers=1, dropout=0.5), 256)
    seen = []
    first, second = (
        score(model, TEXT, length=LENGTH, reading="blocked", progress=lambda *done: seen.append(done))
        for _ in range(2)
    )
    assert (first.nats == second.nats).all()
    assert model.training
    assert all(x.grad is None for x in model.parameters())
    assert seen[-1] == (100, 100)
    json.dumps(first.to_dict(), allow_nan=False)


def test_a_model_whose_positions_end_cannot_be_carried_further():
    model = stir(build(DecoderConfig(**SMALL, layers=1, limit=20), 256))
    with refused(ValueError, "positions"):
        score(model, TEXT, length=LENGTH, reading="carried")
    assert score(model, TEXT, length=LENGTH, reading="blocked").tokens == 100


def test_ids_that_the_model_does_not_know_are_refused():
    with refused(ValueError, "below 100, the model's vocabulary, got 25"):
        score(build(CONFIGS["rotary"], 100), TEXT, length=LENGTH, reading="blocked")


def test_a_text_of_one_token_is_refused(model):
    with refused(ValueError, "at least 2 tokens, one to read and one to predict, got 1"):
        score(model, bytes_of(1), length=LENGTH, reading="blocked")


def test_a_loss_that_is_not_finite_is_named(model):
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with refused(FloatingPointError, "must be a finite number, got nan for token 1 of the text"):
        score(model, TEXT, length=LENGTH, reading="blocked")


@pytest.mark.parametrize("name", ["length", "tokens", "piece"])
def test_numbers_below_one_are_refused(model, name):
    with refused(ValueError, f"at least 1.*{name}=0"):
        score(model, TEXT, **{"length": LENGTH, "reading": "blocked", name: 0})


@pytest.mark.parametrize("name", ["reading", "form", "precision"])
def test_an_unknown_choice_is_refused_with_the_choices(model, name):
    options = {"length": LENGTH, "reading": "blocked", name: "sideways"}
    assert_choice_is_refused(lambda: score(model, TEXT, **options), f"{name} must be one of")
