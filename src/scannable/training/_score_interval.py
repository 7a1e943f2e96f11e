"""How sure a mean over tokens is, when tokens of one article go together."""

import numpy as np
from jaxtyping import Float64, Int64


def bootstrap(
    totals: Float64[np.ndarray, " articles"],
    counts: Int64[np.ndarray, " articles"],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return a 95 % interval of the mean over tokens: that of articles drawn again with replacement.

    Tokens of one article are alike, so articles are drawn whole and a resample's mean is its total over its tokens
    (percentile bootstrap of clusters, Efron and Tibshirani 1993, chapters 8 and 13). Scores of the same articles are
    resampled alike, whatever model they are of.

    Args:
        totals: What is averaged, summed over each article.
        counts: Tokens of each article, at least one.
        resamples: How many times articles are drawn.
        seed: Decides which.

    Returns:
        The 2.5 % and the 97.5 % quantile; None of fewer than two articles, which say nothing of how articles vary.
    """
    articles = len(counts)
    if articles < 2:
        return None
    generator, means = np.random.default_rng(seed), np.empty(resamples)
    for i in range(resamples):
        drawn = generator.integers(articles, size=articles)
        means[i] = totals[drawn].sum() / counts[drawn].sum()
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
