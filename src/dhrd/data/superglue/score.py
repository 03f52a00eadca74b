"""A metric as a function of weighted sums over rows, so that one bootstrap serves them all; tasks may bring their own.

Each row has features, a resample gives each row a weight, and the metric of the resample is a function of the weighted
sums of the features alone. Accuracy: hits and rows. F1: hits, predicted and gold by class.

Shape legend: B rows, C classes, M features; `...` is any number of resamples, seeds and models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from scipy import sparse

Features: TypeAlias = np.ndarray | sparse.csr_array
"""What is summed of each row, (B, M); sparse where it grows with the labels."""


class Answered(Protocol):
    """Rows with what is right and what was answered: `dhrd.metrics.outcomes.Outcomes`."""

    @property
    def ids(self) -> Sequence[str]:
        """The rows' ids."""

    @property
    def gold_BC(self) -> np.ndarray:
        """0/1: one-hot, or multi-hot for multi-label."""

    @property
    def predicted_BC(self) -> np.ndarray:
        """0/1; all zero where an answer could not be read."""

    @property
    def hits_B(self) -> np.ndarray:
        """Whether each row has exactly its gold labels."""


@dataclass(frozen=True, slots=True)
class Score:
    """A metric.

    Args:
        name: As in `compute_metrics`.
        features: From answers to what is summed of each row, (B, M), none of it negative.
        value: From weighted sums of the features, (..., M), to the metric, (...).
        within_classes: Whether rows are resampled within their gold class, for tasks with one label a row.
    """

    name: str
    features: Callable[[Answered], Features]
    value: Callable[[np.ndarray], np.ndarray]
    within_classes: bool = False

    def of(self, answered: Answered) -> float:
        """The metric of all rows, each once."""
        return float(self.value(self.features(answered).sum(axis=0)))


def with_ones(values_B: np.ndarray) -> np.ndarray:
    """The features of a share: what counts, and one for each row, (B, 2)."""
    return np.stack([values_B, np.ones_like(values_B)], axis=1).astype(np.float64)


def share(sums: np.ndarray) -> np.ndarray:
    """The share of the rows that count, from sums of `with_ones`."""
    return sums[..., 0] / sums[..., 1]


def f1(hits: np.ndarray, predicted: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """2 tp / (predicted + gold), with 0/0 = 0: scikit-learn's F1 for many resamples at once."""
    return 2 * hits / np.maximum(predicted + gold, 1)  # the sum is 0 only where hits are
