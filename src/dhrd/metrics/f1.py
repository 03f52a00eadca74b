"""The averages of F1 over labels, and their bootstrap intervals, without a table that grows with the labels squared.

Shape legend: B rows, C classes, R resamples, K kinds of row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import confusion_matrix

from dhrd.metrics.intervals import Interval, bootstrap, percentile_interval

if TYPE_CHECKING:
    from dhrd.metrics.metrics import Predictions

DENSE_LABELS = 1000
"""Up to so many labels the whole table of gold by predicted is counted."""


def averages(predictions: Predictions) -> list[str]:
    """The averages of F1 that a task has."""
    return ["macro", "weighted", *(["micro"] if predictions.labels.multi_label else [])]


def confusion_CC(predictions: Predictions) -> np.ndarray:
    """Rows of each gold label by predicted label."""
    return confusion_matrix(predictions.gold_B, predictions.predicted_B, labels=range(len(predictions.labels)))


def f1_intervals(predictions: Predictions, *, num_resamples: int, seed: int) -> dict[str, Interval]:
    """Single-label: within gold classes. Multi-label: over rows, as sets of labels are too many to be strata."""
    if predictions.labels.multi_label:
        strata, totals = _kinds_of_row(predictions)
    elif len(predictions.labels) > DENSE_LABELS:
        return _f1_intervals_by_row(predictions, num_resamples=num_resamples, seed=seed)
    else:
        strata, totals = confusion_CC(predictions), _confusion_totals
    return {
        f"{average}_f1": bootstrap(
            partial(_resampled_f1, totals=totals, average=average), strata, num_resamples=num_resamples, seed=seed
        )
        for average in averages(predictions)
    }


def _f1_intervals_by_row(predictions: Predictions, *, num_resamples: int, seed: int) -> dict[str, Interval]:
    """The same bootstrap, row by row: with many labels the table of gold by predicted is too large to resample."""
    rng, order = np.random.default_rng(seed), np.argsort(predictions.gold_B, kind="stable")
    gold_B, predicted_B = predictions.gold_B[order], predictions.predicted_B[order]
    first_B = np.searchsorted(gold_B, gold_B)
    size_B = np.searchsorted(gold_B, gold_B, side="right") - first_B
    count = partial(np.bincount, minlength=len(predictions.labels))
    values: dict[str, list[float]] = {average: [] for average in averages(predictions)}
    for _ in range(num_resamples):
        drawn_B = predicted_B[first_B + rng.integers(size_B)]
        totals = count(gold_B[drawn_B == gold_B])[None], count(drawn_B)[None], count(gold_B)[None]
        for average, found in values.items():
            found.append(float(_averaged_f1(*totals, average=average)[0]))
    return {f"{average}_f1": percentile_interval(np.array(found)) for average, found in values.items()}


_Totals = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""From resampled counts to (R, C) true positives, predicted and gold: all that F1 depends on."""


def _confusion_totals(counts_RCC: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return counts_RCC.diagonal(axis1=1, axis2=2), counts_RCC.sum(axis=1), counts_RCC.sum(axis=2)


def _kinds_of_row(predictions: Predictions) -> tuple[np.ndarray, _Totals]:
    """How many rows there are of each kind, (1, K), and their totals; rows alike in gold and predicted are one kind."""
    rows = np.concatenate([predictions.gold_BC.astype(bool), predictions.predicted_BC.astype(bool)], axis=1)
    kinds, counts_K = np.unique(rows, axis=0, return_counts=True)
    gold_KC, predicted_KC = np.split(kinds.astype(np.float64), 2, axis=1)

    def totals(counts_R1K: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        counts_RK = counts_R1K[:, 0].astype(np.float64)  # floats are multiplied by BLAS, integers are not
        return counts_RK @ (gold_KC * predicted_KC), counts_RK @ predicted_KC, counts_RK @ gold_KC

    return counts_K[None, :], totals


def _resampled_f1(counts: np.ndarray, *, totals: _Totals, average: str) -> np.ndarray:
    """The F1 of each resample, (R,)."""
    return _averaged_f1(*totals(counts), average=average)


def _averaged_f1(hits_RC: np.ndarray, predicted_RC: np.ndarray, gold_RC: np.ndarray, *, average: str) -> np.ndarray:
    if average == "micro":
        return f1(hits_RC.sum(axis=1), predicted_RC.sum(axis=1), gold_RC.sum(axis=1))
    f1_RC = f1(hits_RC, predicted_RC, gold_RC)
    if average == "macro":
        return f1_RC.mean(axis=1)
    return (f1_RC * gold_RC).sum(axis=1) / np.maximum(gold_RC.sum(axis=1), 1)


def f1(hits: np.ndarray, predicted: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """2 tp / (predicted + gold), with 0/0 = 0: scikit-learn's F1 for many resamples at once."""
    return 2 * hits / np.maximum(predicted + gold, 1)  # the sum is 0 only where hits are
