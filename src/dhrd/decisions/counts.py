"""Counts of right answers among the rows that a target concerns, and what they prove.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtrc, betainc
from scipy.stats import binomtest

from dhrd.decisions.target import Target


class Counts(NamedTuple):
    """Number of rows on which a target is met, and number of rows that it concerns."""

    num_right: int
    num_rows: int

    @property
    def share(self) -> float:
        """The share that the target bounds; NaN if it concerns no row."""
        return self.num_right / self.num_rows if self.num_rows else math.nan

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The exact interval of the share (Clopper and Pearson, 1934)."""
        if not self.num_rows:
            return 0.0, 1.0
        low, high = binomtest(self.num_right, self.num_rows).proportion_ci(confidence, method="exact")
        return float(low), float(high)


def met_and_about(
    target: Target, said_BC: np.ndarray, gold_BC: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The rows on which a target is met, and the rows that it concerns, (B,) each.

    Args:
        target: The target; see `Target`.
        said_BC: The answers, 0/1.
        gold_BC: The right labels, 0/1.
        names: The C labels.
    """
    if target.measure == "accuracy":
        return (said_BC == gold_BC).all(axis=1), np.ones(len(said_BC), dtype=bool)
    index = names.index(target.label)
    said_B, gold_B = said_BC[:, index] == 1, gold_BC[:, index] == 1
    return said_B & gold_B, said_B if target.measure == "precision" else gold_B


def tail_probability(found: Counts, level: float) -> float:
    """The exact binomial p-value of "the share is at most `level`": P(Bin(n, level) ≥ right)."""
    return float(bdtrc(found.num_right - 1, found.num_rows, level)) if found.num_rows else 1.0


def rows_needed(share: float, level: float, significance: float) -> float:
    """Number of rows with this share of right ones for a p-value of at most `significance`; infinite if none suffices.

    Uses the binomial tail as a continuous function of the number of rows, so that the result does not jump.
    """
    if not share > level:
        return math.inf
    if share >= 1:
        return math.log(significance) / math.log(level)

    def excess(num_rows: float) -> float:
        return float(betainc(share * num_rows, (1 - share) * num_rows + 1, level)) - significance

    high = 1.0
    while excess(high) > 0:
        high *= 2
    return float(brentq(excess, high / 2, high)) if high > 1 else 1.0
