"""The decision of an artifact: which rows it answers, and which labels a row may have.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dhrd.decisions.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A target and the threshold that meets it: rows with a lower score are not answered.

    Args:
        target: The target.
        threshold: Threshold on `scores`; 0: every row is answered.
    """

    target: Target
    threshold: float

    def __post_init__(self) -> None:
        assert math.isfinite(self.threshold), f"a threshold is a number, got {self.threshold}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSets:
    """Parameters of label sets, which contain the right labels with a given probability.

    Args:
        coverage: That probability, over draws of the calibration rows and a new one.
        threshold: Minimum probability of the labels in a set.
    """

    coverage: float
    threshold: float

    def __post_init__(self) -> None:
        assert 0 < self.coverage < 1 and 0 <= self.threshold <= 1, f"both are shares, got {self}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """When a classifier answers, and what is guaranteed about its answers.

    Args:
        rules: A row is answered if all rules allow it; without rules every row is.
        confidence: Confidence with which all targets hold on new rows, over draws of the rows it was chosen on.
        sets: The label sets; None: no sets.
        num_rows: Number of rows it was chosen on.
        fingerprint: Fingerprint of those rows.
    """

    rules: tuple[Rule, ...] = ()
    confidence: float = 0.9
    sets: LabelSets | None = None
    num_rows: int
    fingerprint: str

    def __post_init__(self) -> None:
        assert 0 < self.confidence < 1, f"confidence is between 0 and 1, got {self.confidence}"

    def __str__(self) -> str:
        targets = [str(rule.target) for rule in self.rules]
        sets = [f"label sets of coverage {self.sets.coverage:g}"] if self.sets is not None else []
        return f"{' and '.join([*targets, *sets])}, with confidence {self.confidence:g}, on {self.num_rows} rows"

    def answered(self, probabilities_BC: np.ndarray, names: Sequence[str], *, multi_label: bool) -> np.ndarray:
        """Whether each row is answered, (B,).

        Args:
            probabilities_BC: Probabilities of the classification head.
            names: The C labels.
            multi_label: Whether a row may have several labels.
        """
        answered_B = np.ones(len(probabilities_BC), dtype=bool)
        for rule in self.rules:
            answered_B &= scores(rule.target, probabilities_BC, names, multi_label=multi_label) >= rule.threshold
        return answered_B

    def label_sets(self, probabilities_BC: np.ndarray, names: Sequence[str]) -> list[list[str]] | None:
        """Each row's label set, which always contains the most probable label; None without `sets`."""
        if self.sets is None:
            return None
        in_set_BC = probabilities_BC >= np.minimum(probabilities_BC.max(1, keepdims=True), self.sets.threshold)
        return [[names[int(index)] for index in np.flatnonzero(in_set_C)] for in_set_C in in_set_BC]


def confidences(probabilities_BC: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """The classifier's confidence in each row, (B,): p of its label; for multi-label, that of its least certain label.

    Confidences are only as good as the probabilities: train with `training.calibrate`.
    """
    if multi_label:
        return np.maximum(probabilities_BC, 1 - probabilities_BC).min(1)
    return probabilities_BC.max(1)


def says(probabilities_BC: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """The predicted labels of each row, 0/1, (B, C): the most probable one, or for multi-label those with p ≥ 0.5."""
    if multi_label:
        return (probabilities_BC >= 0.5).astype(np.int64)
    return np.eye(probabilities_BC.shape[1], dtype=np.int64)[probabilities_BC.argmax(1)]


def scores(target: Target, probabilities_BC: np.ndarray, names: Sequence[str], *, multi_label: bool) -> np.ndarray:
    """The scores that a rule's threshold is compared with, (B,); infinite for rows that the target does not restrict.

    For accuracy, the row's confidence. For a label's precision, its probability on rows that get the label; for its
    recall, one minus its probability on rows that do not.
    """
    if target.measure == "accuracy":
        return confidences(probabilities_BC, multi_label=multi_label)
    index = names.index(target.label)
    is_given_B = says(probabilities_BC, multi_label=multi_label)[:, index] == 1
    p_B = probabilities_BC[:, index]
    if target.measure == "precision":
        return np.where(is_given_B, p_B, np.inf)
    return np.where(is_given_B, np.inf, 1 - p_B)
