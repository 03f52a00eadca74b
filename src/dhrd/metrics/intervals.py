"""Confidence intervals: Wilson's for shares, a stratified bootstrap for everything else.

Shape legend: R resamples, S strata, K cells (the kinds of row that a stratum can hold).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from statsmodels.stats.proportion import proportion_confint

Interval = tuple[float, float]

_CELLS_AT_ONCE = 2**22  # resampled counts held at once, 8 bytes each: 32 MiB, however many cells there are


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share (Wilson, 1927).

    Args:
        successes: How many of the `n` succeeded.
        n: Independent trials, at least one.
        confidence: Coverage aimed at, between 0 and 1.

    Returns:
        The lower and the upper end, within [0, 1].

    Example:
        >>> low, high = wilson(8, 10)
        >>> round(low, 3), round(high, 3)
        (0.49, 0.943)
    """
    assert 0 <= successes <= n and n > 0, f"{successes} of {n}"
    low, high = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    # At 0 and n successes the ends are 0 and 1 but for rounding
    return max(0.0, float(low)) if successes else 0.0, min(1.0, float(high)) if successes < n else 1.0


def bootstrap(
    metric_fn: Callable[[np.ndarray], np.ndarray],
    strata: np.ndarray,
    *,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of any metric that is a function of counts, resampled within each stratum.

    - Stratified by class: `strata` is the confusion matrix, a row a gold class.
    - Over clusters: `strata` is (1, clusters) of ones; the resampled counts then are the clusters' weights.
    - Over rows without strata: (1, kinds of row).

    The interval has no width where no stratum has two kinds of row (perfect predictions): the data then show no
    variation to resample. Wilson's interval of the accuracy does not have this limit.

    Args:
        metric_fn: From resampled counts, (R, S, K), to the metric of each resample, (R,).
        strata: (S, K) integer counts; resampling keeps the sum of each row.
        num_resamples: R.
        confidence: Coverage aimed at, between 0 and 1.
        seed: The same seed gives the same interval.

    Returns:
        The lower and the upper end.
    """
    assert strata.ndim == 2 and strata.sum() > 0, "nothing to resample"
    values = np.concatenate([metric_fn(counts) for counts in _resamples(strata, num_resamples, seed)])
    assert values.shape == (num_resamples,), values.shape
    return percentile_interval(values, confidence)


def percentile_interval(values_R: np.ndarray, confidence: float = 0.95) -> Interval:
    """The middle part of a metric's resamples, (R,)."""
    low, high = np.quantile(values_R, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _resamples(strata_SK: np.ndarray, num_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Resampled counts, (some of R, S, K) at a time.

    Drawing a stratum's n rows n times with replacement and counting the kinds drawn is a multinomial draw with the
    observed shares. So this is exactly the bootstrap over rows, at the cost of K draws a stratum instead of n, and the
    metric is worked out for all resamples at once.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS_AT_ONCE // strata_SK.size)
    for start in range(0, num_resamples, at_once):
        counts_RSK = np.zeros((min(at_once, num_resamples - start), *strata_SK.shape), dtype=np.int64)
        for stratum, counts_K in enumerate(strata_SK):
            # Empty cells stay out: multinomial gives its last cell what rounding leaves over
            seen = np.flatnonzero(counts_K)
            n = int(counts_K.sum())
            if n:
                counts_RSK[:, stratum, seen] = rng.multinomial(n, counts_K[seen] / n, size=len(counts_RSK))
        yield counts_RSK
