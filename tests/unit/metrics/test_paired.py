"""The paired bootstrap: differences of two models, intervals over rows and seeds against formulas, p-values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dhrd.data.records import LabelSet
from dhrd.errors import ConfigError
from dhrd.metrics.intervals import percentiles
from dhrd.metrics.outcomes import Outcomes
from dhrd.metrics.paired import Pair, differences, p_value, resampling_of, rows_and_seeds


def _pair(wrong_in_baseline: list[int], wrong_in_other: list[int]) -> Pair:
    """Ten rows of two labels."""
    eye, gold = np.eye(2, dtype=np.int64), np.arange(10) % 2
    labels, ids = LabelSet(("n", "y")), [str(row) for row in range(10)]
    baseline, other = (
        Outcomes(
            ids=ids,
            gold_BC=eye[gold],
            predicted_BC=eye[np.where(np.isin(ids, [*map(str, wrong)]), 1 - gold, gold)],
            labels=labels,
        )
        for wrong in (wrong_in_baseline, wrong_in_other)
    )
    return baseline, other


def test_both_models_are_read_at_each_seed_on_the_same_draws() -> None:
    pairs = [_pair([0, 1, 2], [0]), _pair([5], [5, 6])]
    resampling = resampling_of(pairs, "accuracy", None)
    assert resampling.observed() == pytest.approx(np.array([[0.7, 0.9], [0.9, 0.8]]))
    assert differences(resampling.observed()) == pytest.approx([0.2, -0.1])
    resampled_RS2 = resampling.resampled(400, np.random.default_rng(0))
    assert resampled_RS2.shape == (400, 2, 2)
    gap_RS = differences(resampled_RS2)
    assert gap_RS.min(axis=0) == pytest.approx([0, -0.5], abs=0.11)  # the other is never worse at the first seed
    assert (gap_RS[:, 0] >= -1e-12).all() and (gap_RS[:, 1] <= 1e-12).all()
    with pytest.raises(ConfigError, match="'f2' cannot be compared"):
        resampling_of(pairs, "f2", None)


def test_an_interval_that_does_not_vary_is_none_and_an_end_at_none_is_none() -> None:
    assert percentiles(np.full(50, 0.25)) is None
    assert percentiles(np.array([1e-15] * 40 + [0.5] * 60)) == (0.0, 0.5)


def test_without_rows_variation_many_seeds_are_a_t_interval() -> None:
    observed = np.random.default_rng(3).normal(0.02, 0.05, 30)
    values = rows_and_seeds([np.tile(observed, (40_000, 1))], [observed], np.random.default_rng(0))
    expected = stats.ttest_1samp(observed, 0.0)
    assert percentiles(values) == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=0.001)
    assert p_value(values) == pytest.approx(expected.pvalue, abs=0.01)
    # The plain bootstrap over 5 seeds is narrower than their t interval by sqrt(4 / 5) * 1.96 / 2.78
    few = observed[:5]
    low, high = percentiles(rows_and_seeds([np.tile(few, (40_000, 1))], [few], np.random.default_rng(0))) or (0, 0)
    expected = stats.ttest_1samp(few, 0.0).confidence_interval(0.95)
    assert high - low == pytest.approx(expected.high - expected.low, rel=0.08)


def test_seeds_that_differ_only_by_chance_of_rows_add_nothing() -> None:
    rng = np.random.default_rng(0)
    observed = np.full(6, 0.1)
    resampled = observed + rng.normal(0, 0.02, (5000, 1)) + rng.normal(0, 0.05, (5000, 6))
    values = rows_and_seeds([resampled], [observed], rng)
    np.testing.assert_allclose(np.sort(values), np.sort(resampled.mean(axis=1)), atol=1e-12)


def test_rows_and_seeds_vary_by_the_formula() -> None:
    rng = np.random.default_rng(1)
    resampled, observed = [], []
    for num_seeds in (5, 8):
        d_S = rng.normal(0, 0.06, num_seeds)
        by_rows = rng.normal(0, 0.03, (50_000, 1)) + rng.normal(0, 0.04, (50_000, num_seeds))
        resampled.append(d_S + by_rows)
        observed.append(d_S)
    variance = uncertainty = 0.0
    for d_S in observed:
        v, u = d_S.var(ddof=1) / len(d_S), 0.04**2 / len(d_S)
        variance += (0.03**2 + u + v - u) / 4
        uncertainty += (v / 4) ** 2 / (len(d_S) - 1)
    values = rows_and_seeds(resampled, observed, rng)
    low, high = percentiles(values) or (0.0, 0.0)
    expected = stats.t.ppf(0.975, variance**2 / uncertainty) * np.sqrt(variance)
    assert (high - low) / 2 == pytest.approx(expected, rel=0.03)
    assert (high + low) / 2 == pytest.approx(np.mean([d_S.mean() for d_S in observed]), abs=0.003)


def test_p_value_counts_the_observed_data() -> None:
    assert p_value(np.arange(1.0, 100.0)) == pytest.approx(2 / 100)
    assert p_value(-np.arange(1.0, 100.0)) == pytest.approx(2 / 100)
    assert p_value(np.arange(-9.0, 90.0)) == pytest.approx(2 * 11 / 100)  # -9 … 0, and the data
    assert p_value(np.zeros(99)) == 1.0
