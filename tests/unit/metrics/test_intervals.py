"""Intervals against scipy, against resampling row by row, and in coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from dhrd.metrics import intervals
from dhrd.metrics.intervals import bootstrap, wilson


def _recall(counts: np.ndarray) -> np.ndarray:
    """Recall of class 0: the share of the first row that is on the diagonal."""
    return counts[:, 0, 0] / counts[:, 0].sum(axis=1)


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    hits = counts.diagonal(axis1=1, axis2=2)
    return (2 * hits / np.maximum(counts.sum(axis=1) + counts.sum(axis=2), 1)).mean(axis=1)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 7), (7, 7), (8, 10), (51, 56), (4999, 5000)])
def test_wilson_is_scipys(successes: int, n: int, confidence: float) -> None:
    expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert wilson(successes, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_by_hand() -> None:
    z, p, n = 1.959963984540054, 0.8, 10
    middle, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert wilson(8, 10) == pytest.approx(((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)))


def test_wilson_touches_the_ends_exactly() -> None:
    for n in range(1, 200):
        assert wilson(0, n)[0] == 0.0
        assert wilson(n, n)[1] == 1.0
        assert wilson(0, n)[1] > 0.0 and wilson(n, n)[0] < 1.0


def test_bootstrap_is_the_bootstrap_over_rows() -> None:
    confusion = np.array([[30, 5, 2], [4, 12, 3], [0, 2, 6]])
    gold, predicted = (np.repeat(axis.ravel(), confusion.ravel()) for axis in np.indices(confusion.shape))
    rng = np.random.default_rng(7)
    resamples = []
    for _ in range(1000):
        rows = np.concatenate([rng.choice(np.flatnonzero(gold == c), size=(gold == c).sum()) for c in range(3)])
        resamples.append(f1_score(gold[rows], predicted[rows], average="macro", zero_division=0))
    # Each end is known to about 0.005 from 1,000 resamples; the interval is 0.27 wide
    ends = np.quantile(resamples, [0.025, 0.975])
    assert ends[1] - ends[0] > 0.2
    assert bootstrap(_macro_f1, confusion, num_resamples=4000) == pytest.approx(tuple(ends), abs=0.015)


def test_bootstrap_keeps_the_sizes_of_strata_and_empty_cells_empty() -> None:
    strata = np.array([[3, 0, 4], [0, 0, 0], [0, 5, 0], [1, 2, 0]])
    seen = []

    def metric(counts: np.ndarray) -> np.ndarray:
        seen.append(counts)
        return counts[:, 0, 0].astype(float)

    bootstrap(metric, strata, num_resamples=500)
    counts = np.concatenate(seen)
    assert counts.shape == (500, 4, 3)
    assert (counts.sum(axis=2) == strata.sum(axis=1)).all()
    assert (counts[:, strata == 0] == 0).all()
    # Binomial(7, 3/7): mean 3, variance 12/7; three standard errors
    assert counts[:, 0, 0].mean() == pytest.approx(3, abs=0.18)
    assert counts[:, 0, 0].var() == pytest.approx(12 / 7, abs=0.33)


def test_bootstrap_over_clusters_is_wider_than_over_their_rows() -> None:
    # 40 clusters of 10 rows that are all right or all wrong: 40 observations, not 400
    right = np.repeat([10.0, 0.0], 20)
    low, high = bootstrap(lambda weights: weights[:, 0] @ right / 400, np.ones((1, 40), dtype=np.int64))
    assert (low, high) == pytest.approx((0.35, 0.65), abs=0.03)  # 0.5 -+ 1.96 sqrt(0.25 / 40)
    low, high = bootstrap(lambda counts: counts[:, 0, 0] / 400, np.array([[200, 200]]))
    assert (low, high) == pytest.approx((0.45, 0.55), abs=0.02)


def test_bootstrap_is_determined_by_its_seed() -> None:
    confusion = np.array([[301, 57], [43, 121]])  # many distinct values, so that quantiles of two seeds do not coincide
    assert bootstrap(_macro_f1, confusion, seed=3) == bootstrap(_macro_f1, confusion, seed=3)
    assert bootstrap(_macro_f1, confusion, seed=3) != bootstrap(_macro_f1, confusion, seed=4)


def test_bootstrap_in_pieces_covers_every_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def metric(counts: np.ndarray) -> np.ndarray:
        sizes.append(len(counts))
        return _recall(counts)

    whole = bootstrap(_recall, np.array([[70, 30]]), num_resamples=5001)
    monkeypatch.setattr(intervals, "_CELLS_AT_ONCE", 1000)
    assert bootstrap(metric, np.array([[70, 30]]), num_resamples=5001) == whole
    assert sizes == [500] * 10 + [1]


def test_bootstrap_without_variation_has_no_width() -> None:
    assert bootstrap(_macro_f1, np.diag([5, 1, 9])) == (1.0, 1.0)
    assert bootstrap(_recall, np.array([[1]])) == (1.0, 1.0)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_bootstrap_covers_the_truth_as_often_as_it_says(confidence: float) -> None:
    shares = np.array([[0.8, 0.15, 0.05], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    sizes = [80, 60, 40]
    truth = _macro_f1((shares * np.array(sizes)[:, None])[None])[0]
    rng = np.random.default_rng(11)
    num_trials, num_covered = 400, 0
    for trial in range(num_trials):
        confusion = np.stack([rng.multinomial(n, p) for n, p in zip(sizes, shares, strict=True)])
        low, high = bootstrap(_macro_f1, confusion, num_resamples=400, confidence=confidence, seed=trial)
        num_covered += low <= truth <= high
    # Three standard errors of a share over 400 trials, and 0.015 for the percentile method's own bias
    slack = 3 * (confidence * (1 - confidence) / num_trials) ** 0.5 + 0.015
    assert num_covered / num_trials == pytest.approx(confidence, abs=slack)
