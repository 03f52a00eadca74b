"""What a decision gives on labelled rows."""

from __future__ import annotations

import numpy as np
import pytest

from dhrd.decisions.certify import Labelled
from dhrd.decisions.decision import Decision, LabelSets, Rule
from dhrd.decisions.report import decision_metrics
from dhrd.decisions.target import Target

ROWS = Labelled(
    probabilities_BC=np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.45, 0.55]]),
    gold_BC=np.array([[1, 0], [0, 1], [0, 1], [1, 0]]),
    names=["a", "b"],
    multi_label=False,
)


def _decision(threshold: float, sets: LabelSets | None = None) -> Decision:
    rule = Rule(target=Target(measure="precision", level=0.8, label="b"), threshold=threshold)
    return Decision(rules=(rule,), sets=sets, num_rows=4, fingerprint="0")


def test_coverage_accuracy_and_targets() -> None:
    metrics = decision_metrics(_decision(0.7), ROWS)
    assert (metrics["num_answered"], metrics["coverage"]) == (3, 0.75)
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["accuracy_interval_95"] == pytest.approx([0.0943, 0.9916], abs=1e-4)  # R: binom.test(2, 3)
    assert metrics["targets"] == [
        {"target": "precision:b>=0.8", "share": 1.0, "share_interval_95": pytest.approx([0.025, 1.0]), "num_rows": 1}
    ]
    assert "sets" not in metrics


def test_sets_are_counted() -> None:
    sets = decision_metrics(_decision(0.0, LabelSets(coverage=0.8, threshold=0.4)), ROWS)["sets"]
    assert (sets["coverage"], sets["mean_size"]) == (1.0, 1.5)


def test_shares_of_no_row_are_null() -> None:
    rule = Rule(target=Target(measure="accuracy", level=0.8), threshold=1.0)
    metrics = decision_metrics(Decision(rules=(rule,), num_rows=4, fingerprint="0"), ROWS)
    assert metrics["coverage"] == 0
    assert metrics["accuracy"] is None
    assert metrics["targets"][0]["share"] is None
