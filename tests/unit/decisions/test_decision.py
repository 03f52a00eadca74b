"""Which rows are answered, and which labels a row may have."""

from __future__ import annotations

import numpy as np
import pytest

from dhrd.decisions.decision import Decision, LabelSets, Rule, confidences, says, scores
from dhrd.decisions.target import Target

NAMES = ["a", "b", "c"]
P = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.1, 0.3, 0.6], [0.05, 0.9, 0.05]])


def _decision(*rules: Rule, sets: LabelSets | None = None) -> Decision:
    return Decision(rules=rules, sets=sets, num_rows=10, fingerprint="0")


def _rule(measure: str, label: str, threshold: float) -> Rule:
    return Rule(target=Target(measure=measure, level=0.9, label=label), threshold=threshold)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rules", "answered"),
    [
        ((), [1, 1, 1, 1]),
        ((_rule("accuracy", "", 0.6),), [1, 0, 1, 1]),
        ((_rule("accuracy", "", 0.0),), [1, 1, 1, 1]),
        ((_rule("precision", "a", 0.5),), [1, 0, 1, 1]),
        ((_rule("precision", "c", 0.7),), [1, 1, 0, 1]),
        ((_rule("recall", "b", 0.68),), [1, 0, 1, 1]),  # 1 - p(b) is 0.8, 0.65, 0.7, and the last row is given b
        ((_rule("recall", "b", 0.75), _rule("precision", "b", 0.95)), [1, 0, 0, 0]),
    ],
)
def test_rows_that_are_answered(rules: tuple[Rule, ...], answered: list[int]) -> None:
    found = _decision(*rules).answered(P, NAMES, multi_label=False)
    assert found.tolist() == [bool(value) for value in answered]


def test_several_labels_are_as_sure_as_the_least_sure_of_them() -> None:
    p = np.array([[0.9, 0.2, 0.55], [0.9, 0.05, 0.1]])
    assert confidences(p, multi_label=True).tolist() == [0.55, 0.9]
    assert says(p, multi_label=True).tolist() == [[1, 0, 1], [1, 0, 0]]
    precision = scores(Target(measure="precision", level=0.9, label="c"), p, NAMES, multi_label=True)
    assert precision.tolist() == [0.55, np.inf]
    recall = scores(Target(measure="recall", level=0.9, label="c"), p, NAMES, multi_label=True)
    assert recall.tolist() == [np.inf, 0.9]


def test_sets_hold_the_most_probable_label_always() -> None:
    sets = _decision(sets=LabelSets(coverage=0.9, threshold=0.3)).label_sets(P, NAMES)
    assert sets == [["a"], ["a", "b"], ["b", "c"], ["b"]]
    assert _decision(sets=LabelSets(coverage=0.9, threshold=0.95)).label_sets(P, NAMES) == [["a"], ["a"], ["c"], ["b"]]
    assert _decision().label_sets(P, NAMES) is None
