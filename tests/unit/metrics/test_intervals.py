"""Intervals against scipy, against resampling row by row, and in coverage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from dhrd.data.records import LabelSet
from dhrd.data.superglue import TASKS
from dhrd.data.superglue.score import Score
from dhrd.metrics import intervals
from dhrd.metrics.intervals import (
    Resampling,
    accuracy_interval,
    bootstrap,
    grouped_interval,
    percentile_interval,
    wilson,
)
from dhrd.metrics.outcomes import Outcomes
from dhrd.metrics.scores import class_counts, score

MACRO_F1, ACCURACY = score("macro_f1"), score("accuracy")


def of_confusion(confusion: Any) -> Outcomes:
    """Rows of each gold class (row) that are given each class (column)."""
    confusion = np.asarray(confusion)
    gold, predicted = (np.repeat(axis.ravel(), confusion.ravel()) for axis in np.indices(confusion.shape))
    eye, ids = np.eye(len(confusion), dtype=np.int64), [str(i) for i in range(confusion.sum())]
    labels = LabelSet(tuple(map(str, range(len(confusion)))))
    return Outcomes(ids=ids, gold_BC=eye[gold], predicted_BC=eye[predicted], labels=labels)


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
    outcomes = of_confusion([[30, 5, 2], [4, 12, 3], [0, 2, 6]])
    gold, predicted = outcomes.gold_B, outcomes.predicted_B
    rng = np.random.default_rng(7)
    resamples = []
    for _ in range(1000):
        rows = np.concatenate([rng.choice(np.flatnonzero(gold == c), size=(gold == c).sum()) for c in range(3)])
        resamples.append(f1_score(gold[rows], predicted[rows], average="macro", zero_division=0))
    # Each end is known to about 0.005 from 1,000 resamples; the interval is 0.27 wide
    ends = np.quantile(resamples, [0.025, 0.975])
    assert ends[1] - ends[0] > 0.2
    assert bootstrap(outcomes, MACRO_F1, num_resamples=4000) == pytest.approx(tuple(ends), abs=0.015)


def test_resamples_keep_the_sizes_of_strata_and_kinds_that_are_not_there_out() -> None:
    """What is summed of each resample: hits, predicted and gold of each class."""
    confusion = np.array([[3, 0, 4], [0, 5, 0], [1, 2, 0]])
    summed = Score("summed", class_counts, lambda sums: sums, within_classes=True)
    resampling = Resampling.of([of_confusion(confusion)], summed, None, shape=())
    sums_R9 = resampling.resampled(500, np.random.default_rng(0))
    assert sums_R9.shape == (500, 9)
    assert (sums_R9[:, 6:] == confusion.sum(axis=1)).all()
    assert (sums_R9[:, 3:6].sum(axis=1) == confusion.sum()).all()
    assert (sums_R9[:, 1] == 5).all() and (sums_R9[:, 2] == 0).all()
    # Binomial(7, 3/7): mean 3, variance 12/7; three standard errors
    assert sums_R9[:, 0].mean() == pytest.approx(3, abs=0.18)
    assert sums_R9[:, 0].var() == pytest.approx(12 / 7, abs=0.33)


def test_kinds_are_in_the_order_of_their_stratum_and_features() -> None:
    """A draw goes by their order, so that a report's intervals stay what they were: the order of `np.unique`."""
    rng = np.random.default_rng(0)
    sums_GF, stratum_G = rng.integers(0, 3, (200, 4)).astype(float), rng.integers(0, 2, 200)
    kinds_KF, counts_K, stratum_K = intervals._kinds(sparse.csr_array(sums_GF), stratum_G)
    expected, counts = np.unique(np.column_stack([stratum_G, sums_GF]), axis=0, return_counts=True)
    assert np.column_stack([stratum_K, kinds_KF.toarray()]).tolist() == expected.tolist()
    assert counts_K.tolist() == counts.tolist()


def test_bootstrap_over_clusters_is_wider_than_over_their_rows() -> None:
    # 40 paragraphs of 10 rows that are all right or all wrong: 40 observations, not 400
    task = TASKS["multirc"]
    eye, gold = np.eye(2, dtype=np.int64), np.arange(400) % 2
    outcomes = Outcomes(
        ids=[f"multirc-dev-{row // 10}-0-{row % 10}" for row in range(400)],
        gold_BC=eye[gold],
        predicted_BC=eye[np.where(np.arange(400) < 200, gold, 1 - gold)],
        labels=LabelSet(task.labels),
    )
    low, high = bootstrap(outcomes, ACCURACY, task)
    assert (low, high) == pytest.approx((0.35, 0.65), abs=0.03)  # 0.5 -+ 1.96 sqrt(0.25 / 40)
    low, high = bootstrap(outcomes, ACCURACY)
    assert (low, high) == pytest.approx((0.45, 0.55), abs=0.02)
    in_pairs = replace(outcomes, group_B=[str(row // 2) for row in range(400)])  # a row's own group counts, not its id
    assert bootstrap(in_pairs, ACCURACY, task)[0] == pytest.approx(0.5 - 1.96 * (0.25 / 200) ** 0.5, abs=0.02)


def test_the_accuracys_interval_is_over_groups_where_rows_have_some() -> None:
    alone = of_confusion([[40, 10], [5, 45]])
    copies = alone.rows(np.repeat(np.arange(100), 10).tolist())
    grouped = replace(copies, group_B=[str(row) for row in np.repeat(np.arange(100), 10)])
    assert accuracy_interval(alone) == wilson(85, 100)
    assert accuracy_interval(copies) == wilson(850, 1000)
    assert accuracy_interval(grouped) == pytest.approx(accuracy_interval(alone), abs=0.015)
    right = replace(of_confusion([[40, 0], [0, 40]]), group_B=[str(row // 20) for row in range(80)])
    assert accuracy_interval(right) == wilson(4, 4), "four groups, and none of them errs"


def test_groups_of_one_row_each_are_no_groups() -> None:
    outcomes = of_confusion([[4, 1], [2, 3]])
    for group_B in (None, [None] * 10, [str(row) for row in range(10)]):
        assert grouped_interval(outcomes.hits_B, replace(outcomes, group_B=group_B)) is None
    assert grouped_interval(outcomes.hits_B, replace(outcomes, group_B=["g", "g", *[None] * 8])) is not None
    assert grouped_interval(np.zeros(0, dtype=bool), outcomes.rows([])) is None


def test_bootstrap_is_determined_by_its_seed() -> None:
    outcomes = of_confusion([[301, 57], [43, 121]])  # many values, so that quantiles of two seeds do not coincide
    assert bootstrap(outcomes, MACRO_F1, seed=3) == bootstrap(outcomes, MACRO_F1, seed=3)
    assert bootstrap(outcomes, MACRO_F1, seed=3) != bootstrap(outcomes, MACRO_F1, seed=4)


def test_bootstrap_in_pieces_covers_every_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes, sizes = of_confusion([[70, 30], [0, 0]]), []

    def value(sums: np.ndarray) -> np.ndarray:
        sizes.append(len(sums))
        return ACCURACY.value(sums)

    whole = bootstrap(outcomes, ACCURACY, num_resamples=5001)
    monkeypatch.setattr(intervals, "_CELLS_AT_ONCE", 1000)
    assert bootstrap(outcomes, replace(ACCURACY, value=value), num_resamples=5001) == whole
    assert sizes == [500] * 10 + [1]


def test_there_is_no_bootstrap_without_variation() -> None:
    assert bootstrap(of_confusion(np.diag([5, 1, 9])), MACRO_F1) is None
    assert bootstrap(of_confusion([[1]]), ACCURACY) is None


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_bootstrap_covers_the_truth_as_often_as_it_says(confidence: float) -> None:
    shares = np.array([[0.8, 0.15, 0.05], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    sizes = [80, 60, 40]
    expected = shares * np.array(sizes)[:, None]
    truth = (2 * expected.diagonal() / (expected.sum(axis=0) + expected.sum(axis=1))).mean()
    rng = np.random.default_rng(11)
    num_trials, num_covered = 400, 0
    for trial in range(num_trials):
        outcomes = of_confusion(np.stack([rng.multinomial(n, p) for n, p in zip(sizes, shares, strict=True)]))
        resampling = Resampling.of([outcomes], MACRO_F1, None, shape=())
        values_R = resampling.resampled(400, np.random.default_rng(trial))
        low, high = percentile_interval(values_R, (1 - confidence) / 2)
        num_covered += low <= truth <= high
    # Three standard errors of a share over 400 trials, and 0.015 for the percentile method's own bias
    slack = 3 * (confidence * (1 - confidence) / num_trials) ** 0.5 + 0.015
    assert num_covered / num_trials == pytest.approx(confidence, abs=slack)
