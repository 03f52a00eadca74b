"""Metrics as functions of weighted sums: shares and F1 by hand, for many resamples at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.metrics import f1_score

from dhrd.data.superglue.score import Score, f1, share, with_ones


@dataclass(frozen=True)
class Answers:
    """Answers of a task with one label a row."""

    ids: list[str]
    gold_BC: np.ndarray
    predicted_BC: np.ndarray

    @property
    def hits_B(self) -> np.ndarray:
        """Rows that are right."""
        return (self.gold_BC == self.predicted_BC).all(axis=1)


ACCURACY = Score("accuracy", lambda answers: with_ones(answers.hits_B), share)


def test_a_score_is_its_value_of_all_rows_once() -> None:
    one_hot = np.eye(2, dtype=int)
    answers = Answers(list("abcd"), one_hot[[0, 1, 1, 0]], one_hot[[0, 1, 0, 0]])
    assert ACCURACY.of(answers) == 0.75
    weights_RB = np.array([[1, 1, 1, 1], [0, 0, 4, 0], [2, 1, 1, 0]])
    assert ACCURACY.value(weights_RB @ ACCURACY.features(answers)) == pytest.approx([0.75, 0.0, 0.75])


def test_f1_is_scikit_learns_with_nothing_over_nothing_as_0() -> None:
    rng = np.random.default_rng(0)
    gold_RB, predicted_RB = rng.integers(0, 2, (2, 20, 7))
    gold_RB[0] = predicted_RB[0] = 0
    ours_R = f1((gold_RB * predicted_RB).sum(1), predicted_RB.sum(1), gold_RB.sum(1))
    theirs = [f1_score(gold, predicted, zero_division=0) for gold, predicted in zip(gold_RB, predicted_RB, strict=True)]
    assert ours_R == pytest.approx(theirs)
    assert ours_R[0] == 0
