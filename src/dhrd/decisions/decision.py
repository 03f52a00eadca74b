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
    """A target, and the threshold that holds it: rows whose score is under it are not answered.

    Args:
        target: What is held.
        threshold: Of `scores`; 0: every row is answered.
    """

    target: Target
    threshold: float

    def __post_init__(self) -> None:
        assert math.isfinite(self.threshold), f"a threshold is a number, got {self.threshold}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSets:
    """A set of labels for each row that holds the right ones with a given probability.

    Args:
        coverage: That probability, over rows of the choice and new ones together.
        threshold: Labels are in the set whose probability is at least this.
    """

    coverage: float
    threshold: float

    def __post_init__(self) -> None:
        assert 0 < self.coverage < 1 and 0 <= self.threshold <= 1, f"both are shares, got {self}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """When a classifier answers, and what is known of its answers.

    Args:
        rules: A row is answered where all of them let it be; none: every row.
        confidence: With which all targets hold on new rows: the share of draws of the rows of the choice.
        sets: The label sets; None: there are none.
        num_rows: How many rows it was chosen on.
        fingerprint: Of those rows.
    """

    rules: tuple[Rule, ...] = ()
    confidence: float = 0.9
    sets: LabelSets | None = None
    num_rows: int
    fingerprint: str

    def __post_init__(self) -> None:
        assert 0 < self.confidence < 1, f"confidence is between 0 and 1, got {self.confidence}"

    def answered(self, probabilities_BC: np.ndarray, names: Sequence[str], *, multi_label: bool) -> np.ndarray:
        """Whether each row is answered, (B,).

        Args:
            probabilities_BC: Of the classification head.
            names: The C labels.
            multi_label: Whether a row may have several.
        """
        answered_B = np.ones(len(probabilities_BC), dtype=bool)
        for rule in self.rules:
            answered_B &= scores(rule.target, probabilities_BC, names, multi_label=multi_label) >= rule.threshold
        return answered_B

    def label_sets(self, probabilities_BC: np.ndarray, names: Sequence[str]) -> list[list[str]] | None:
        """The labels that each row may have, the most probable always among them; None without `sets`."""
        if self.sets is None:
            return None
        in_set_BC = probabilities_BC >= np.minimum(probabilities_BC.max(1, keepdims=True), self.sets.threshold)
        return [[names[int(index)] for index in np.flatnonzero(in_set_C)] for in_set_C in in_set_BC]


def confidences(probabilities_BC: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """How sure the classifier is of each row, (B,): p of its label; of several, of the one it is least sure of.

    They are as good as the probabilities: train with `training.calibrate`.
    """
    if multi_label:
        return np.maximum(probabilities_BC, 1 - probabilities_BC).min(1)
    return probabilities_BC.max(1)


def says(probabilities_BC: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """The labels that each row is given, 0/1, (B, C): the most probable, or those with p ≥ 0.5."""
    if multi_label:
        return (probabilities_BC >= 0.5).astype(np.int64)
    return np.eye(probabilities_BC.shape[1], dtype=np.int64)[probabilities_BC.argmax(1)]


def scores(target: Target, probabilities_BC: np.ndarray, names: Sequence[str], *, multi_label: bool) -> np.ndarray:
    """What a rule's threshold is compared with, (B,); infinite on rows that its target lets be answered in any case.

    Of accuracy the row's confidence. Of a label's precision its probability where it is given, of its recall one minus
    its probability where it is not.
    """
    if target.measure == "accuracy":
        return confidences(probabilities_BC, multi_label=multi_label)
    index = names.index(target.label)
    is_given_B = says(probabilities_BC, multi_label=multi_label)[:, index] == 1
    p_B = probabilities_BC[:, index]
    if target.measure == "precision":
        return np.where(is_given_B, p_B, np.inf)
    return np.where(is_given_B, np.inf, 1 - p_B)
