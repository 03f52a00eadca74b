"""The gate: what is compared, and when the fall on old rows is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dhrd.data.records import Example, LabelSet
from dhrd.inference.classifier import Classifier
from dhrd.metrics.intervals import wilson
from dhrd.metrics.outcomes import Outcomes
from dhrd.run.update.gate import AnswerChange, Flips, UpdateGate, outcomes_of
from helpers.artifacts import LABELS as KNOWN
from helpers.artifacts import save_tiny

LABELS = LabelSet(("a", "b"))


def outcomes(right_B: np.ndarray) -> Outcomes:
    """Of rows that are all "a"."""
    gold_BC = np.tile([1, 0], (len(right_B), 1))
    probabilities_BC = np.where(right_B[:, None], [0.9, 0.1], [0.2, 0.8])
    return Outcomes.of_probabilities([f"r{i}" for i in range(len(right_B))], gold_BC, probabilities_BC, LABELS)


def change(num_mended: int, num_broken: int, num_rows: int = 200) -> AnswerChange:
    before_B = np.arange(num_rows) >= num_rows // 4
    after_B = before_B.copy()
    after_B[:num_mended] = True
    after_B[num_rows - num_broken :] = False
    return AnswerChange.of(outcomes(before_B), outcomes(after_B))


def test_flips_are_counted_in_both_directions() -> None:
    found = change(num_mended=10, num_broken=4)
    assert (found.num_rows, found.before, found.after) == (200, 0.75, 0.78)
    assert found.mended == Flips(10, 0.05, wilson(10, 200))
    assert found.broken == Flips(4, 0.02, wilson(4, 200))
    assert found.difference == pytest.approx(0.03)
    assert found.interval_95 is not None and found.interval_95[0] < 0.03 < found.interval_95[1]


@pytest.mark.parametrize(
    ("num_mended", "num_broken", "most", "falls"),
    [
        (0, 0, 0.0, False),  # nothing varies: the difference itself counts
        (5, 8, 0.01, False),  # a fall of 1.5 points, whose interval reaches above 0
        (0, 30, 0.01, True),
        (0, 30, 0.2, False),
        (30, 0, 0.0, False),
    ],
)
def test_a_fall_is_one_at_its_intervals_better_end(num_mended: int, num_broken: int, most: float, falls: bool) -> None:
    found = change(num_mended, num_broken)
    assert found.falls(most) == falls
    gate = UpdateGate(new=change(0, 60), old=found, max_regression=most)
    assert gate.holds != falls, "new rows do not decide"
    assert gate.to_json()["published"] == gate.holds


def test_all_rows_lost_alike_is_a_fall_without_an_interval() -> None:
    found = AnswerChange.of(outcomes(np.ones(5, dtype=bool)), outcomes(np.zeros(5, dtype=bool)))
    assert found.interval_95 is None and found.falls(0.5)


def test_labels_that_a_model_does_not_have_get_no_probability(tmp_path: Path) -> None:
    classifier = Classifier.from_pretrained(save_tiny(tmp_path / "old"), device="cpu", dtype=None)
    more = LabelSet((*KNOWN.names, "fax"))
    examples = [Example(id=f"r{i}", input_text=f"case {i}", label=more.names[i]) for i in range(4)]
    found = outcomes_of(classifier, examples, more)
    assert found.probabilities_BC is not None
    assert found.gold_B.tolist() == [0, 1, 2, 3] and not found.hits_B[3]
    assert (found.probabilities_BC[:, 3] == 0).all()
    np.testing.assert_allclose(found.probabilities_BC[:, :3], classifier.predict_proba(examples))
