"""The bootstrap over articles is as sure as articles are many and alike."""

import numpy as np
import pytest

from scannable.training._score_interval import bootstrap


def test_equal_articles_leave_no_doubt():
    low, high = bootstrap(np.full(20, 30.7), np.full(20, 10))
    assert low == high == pytest.approx(3.07)


def test_a_single_article_says_nothing():
    assert bootstrap(np.array([3.0]), np.array([1])) is None


def test_the_seed_decides_the_resamples():
    totals, counts = np.arange(30.0), np.full(30, 10)
    assert bootstrap(totals, counts) == bootstrap(totals, counts)
    assert bootstrap(totals, counts) != bootstrap(totals, counts, seed=1)


def draw(generator, articles=60):
    """Articles of many lengths, with means of their own around 3, larger in longer ones; and the true ratio."""
    counts = generator.integers(20, 400, articles)
    means = 3.0 + 0.002 * (counts - 209.5) + 0.5 * generator.standard_normal(articles)
    tokens = [mean + generator.standard_normal(count) for mean, count in zip(means, counts, strict=True)]
    return tokens, counts


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    lengths = np.arange(20, 400)
    truth = (lengths * (3.0 + 0.002 * (lengths - 209.5))).sum() / lengths.sum()
    held = alone = 0
    for _ in range(300):
        tokens, counts = draw(generator)
        low, high = bootstrap(np.array([x.sum() for x in tokens]), counts, resamples=200)
        held += low <= truth <= high
        # As if tokens were independent: far too sure.
        every = np.concatenate(tokens)
        alone += abs(every.mean() - truth) <= 1.96 * every.std() / np.sqrt(len(every))
    assert 0.90 <= held / 300 <= 0.98
    assert alone / 300 < 0.6
