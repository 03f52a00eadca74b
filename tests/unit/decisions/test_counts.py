"""Counts and what they prove."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from dhrd.decisions.counts import Counts, met_and_about, rows_needed, tail_probability
from dhrd.decisions.target import Target

NAMES = ["a", "b"]


def _counts(target: Target, said_BC: np.ndarray, gold_BC: np.ndarray) -> Counts:
    return Counts(*(int(mask_B.sum()) for mask_B in met_and_about(target, said_BC, gold_BC, NAMES)))


GOLD = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]])
SAID = np.array([[1, 0], [0, 1], [0, 1], [0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("measure", "label", "found"),
    [
        ("accuracy", "", Counts(3, 5)),
        ("precision", "a", Counts(1, 2)),
        ("precision", "b", Counts(2, 3)),
        ("recall", "a", Counts(1, 2)),
        ("recall", "b", Counts(2, 3)),
    ],
)
def test_rows_that_a_target_is_about(measure: str, label: str, found: Counts) -> None:
    target = Target(measure=measure, level=0.5, label=label)  # type: ignore[arg-type]
    assert _counts(target, SAID, GOLD) == found


def test_several_labels_are_right_together() -> None:
    said = np.array([[1, 1], [1, 0]])
    assert _counts(Target(measure="accuracy", level=0.5), said, np.array([[1, 1], [1, 1]])) == Counts(1, 2)


@pytest.mark.parametrize(("right", "rows"), [(0, 5), (5, 5), (45, 50), (0, 1), (990, 1000)])
def test_p_value_is_the_binomial_tail(right: int, rows: int) -> None:
    exact = sum(binom.pmf(k, rows, 0.9) for k in range(right, rows + 1))
    assert tail_probability(Counts(right, rows), 0.9) == pytest.approx(exact, rel=1e-9)


def test_nothing_is_shown_by_no_row() -> None:
    assert tail_probability(Counts(0, 0), 0.1) == 1
    assert math.isnan(Counts(0, 0).share)
    assert Counts(0, 0).interval() == (0, 1)


def test_interval_is_that_of_clopper_and_pearson() -> None:
    low, high = Counts(9, 10).interval()
    assert binom.sf(8, 10, low) == pytest.approx(0.025)
    assert binom.cdf(9, 10, high) == pytest.approx(0.025)


@pytest.mark.parametrize(("share", "level"), [(1.0, 0.95), (0.98, 0.95), (0.7, 0.6), (0.96, 0.95)])
def test_rows_that_are_needed_are_just_enough(share: float, level: float) -> None:
    needed = rows_needed(share, level, 0.05)
    enough, too_few = math.ceil(needed * 1.05) + 20, math.floor(needed * 0.9) - 2
    assert tail_probability(Counts(math.floor(share * enough), enough), level) <= 0.06
    assert tail_probability(Counts(math.floor(share * too_few), too_few), level) > 0.05


def test_no_number_of_rows_shows_what_is_not_so() -> None:
    assert rows_needed(0.9, 0.95, 0.05) == math.inf
    assert rows_needed(math.nan, 0.95, 0.05) == math.inf
