"""The figures made of a text's losses are sums over the tokens that they say."""

import json
import math

import numpy as np
import pytest

from scannable.training import Scores


def scores(nats, **fields):
    count = len(nats)
    default = {
        "reading": "carried",
        "form": "parallel",
        "length": None,
        "places": np.arange(count),
        "articles": np.zeros(count, np.int64),
        "bytes": 2 * count,
        "words": count,
        "chunk": None,
        "merges": None,
    }
    return Scores(nats=np.asarray(nats, np.float64), **default | fields)


def drawn(count, seed=0):
    return np.random.default_rng(seed).exponential(3.0, count)


def test_figures_are_of_the_mean_loss_or_the_sum():
    found = scores([1.0, 2.0, 3.0], bytes=6, words=2)
    assert (found.tokens, found.loss) == (3, 2.0)
    assert found.perplexity == pytest.approx(math.exp(2))
    assert found.bits_per_byte == pytest.approx(1 / math.log(2))
    assert found.word_perplexity == pytest.approx(math.exp(3))
    assert scores([1.0], words=0).word_perplexity is None


def test_the_loss_is_split_by_place_into_buckets_that_double():
    nats, places = drawn(1000), np.random.default_rng(1).integers(0, 600, 1000)
    buckets = scores(nats, places=places).positions
    ends = [(bucket.first, bucket.last) for bucket in buckets]
    assert ends == [(0, 63), (64, 127), (128, 255), (256, 511), (512, 1023)]
    for bucket in buckets:
        inside = [nats[i] for i in range(1000) if bucket.first <= places[i] <= bucket.last]
        assert (bucket.tokens, bucket.loss) == (len(inside), pytest.approx(np.mean(inside)))


def test_a_bucket_without_tokens_is_left_out():
    assert [bucket.first for bucket in scores([1.0, 1.0], places=np.array([0, 128])).positions] == [0, 128]


def test_the_authors_subset_leaves_out_the_first_token_of_a_chunk_and_of_a_window():
    nats = drawn(12)
    assert scores(nats).authors_subset_perplexity is None
    assert scores(nats, chunk=1).authors_subset_perplexity is None
    # Output 3 predicts token 4 of the reading, which begins a chunk of four.
    kept = [nats[i] for i in range(12) if i not in (3, 7, 11)]
    assert scores(nats, chunk=4).authors_subset_perplexity == pytest.approx(math.exp(np.mean(kept)))
    places = np.arange(12) % 6
    kept = [nats[i] for i in range(12) if places[i] not in (3, 5)]
    cut = scores(nats, chunk=4, length=6, reading="blocked", places=places)
    assert cut.authors_subset_perplexity == pytest.approx(math.exp(np.mean(kept)))


def test_tokens_from_the_third_chunk_on_read_a_merged_state():
    assert scores(drawn(12), chunk=4).merged_share == 1 / 3
    assert scores(drawn(8), chunk=4).merged_share == 0
    assert scores(drawn(8)).merged_share is None


def test_the_interval_is_over_articles_with_tokens_and_holds_the_perplexity():
    assert scores(drawn(9)).interval is None
    articles = np.repeat([0, 2, 3, 7], 50)
    low, high = scores(drawn(200), articles=articles).interval
    assert low < scores(drawn(200)).perplexity < high
    assert scores(drawn(200), articles=np.repeat([0, 1, 2, 3], 50)).interval == (low, high)


def test_json_holds_finite_numbers_only():
    huge = scores([400.0, 1200.0], words=1, articles=np.array([0, 1]), chunk=1, merges=0)
    assert huge.perplexity == huge.word_perplexity == math.inf
    written = json.loads(json.dumps(huge.to_dict(), allow_nan=False))
    assert (written["loss"], written["perplexity"], written["word_perplexity"]) == (800.0, None, None)
    assert written["positions"] == [{"first": 0, "last": 63, "tokens": 2, "loss": 800.0}]
    assert written["interval"][1] is None
