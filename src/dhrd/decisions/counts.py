"""Right answers among the rows that a target is about, and what those counts prove.

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
    """On how many rows a target is met, and how many it is about."""

    num_right: int
    num_rows: int

    @property
    def share(self) -> float:
        """The share that the target bounds; NaN where it is about no row."""
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
    """The rows on which a target is met, and the rows that it is about, (B,) each.

    Args:
        target: See `Target` for the rows of each.
        said_BC: What they are answered, 0/1.
        gold_BC: What is right, 0/1.
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
    """How many rows with this share of right ones have a p-value of at most `significance`; infinite: none do.

    The binomial tail as a continuous function of the number of rows, so that the answer does not jump with rounding.
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
