"""Label sets cover new rows as often as they say, by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from dhrd.decisions.conformal import label_sets
from dhrd.decisions.decision import Decision, LabelSets
from dhrd.errors import DataError


def _rows(rng: np.random.Generator, count: int, *, multi_label: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose probabilities are far too sure."""
    logits_BC = rng.normal(0, 1.0, (count, 4))
    if multi_label:
        gold_BC = (rng.random((count, 4)) < 1 / (1 + np.exp(-logits_BC))).astype(np.int64)
        return 1 / (1 + np.exp(-3 * logits_BC)), gold_BC
    p_BC = np.exp(logits_BC) / np.exp(logits_BC).sum(1, keepdims=True)
    gold_B = (rng.random((count, 1)) < p_BC.cumsum(1)).argmax(1)
    sure_BC = p_BC**3
    return sure_BC / sure_BC.sum(1, keepdims=True), np.eye(4, dtype=np.int64)[gold_B]


def _covered(sets: LabelSets, p_BC: np.ndarray, gold_BC: np.ndarray) -> float:
    names = ["a", "b", "c", "d"]
    offered = Decision(sets=sets, num_rows=1, fingerprint="0").label_sets(p_BC, names) or []
    return float(
        np.mean(
            [all(names[i] in labels for i in np.flatnonzero(row)) for labels, row in zip(offered, gold_BC, strict=True)]
        )
    )


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize(("coverage", "num_rows"), [(0.9, 50), (0.8, 19), (0.95, 100)])
def test_new_rows_are_covered(multi_label: bool, coverage: float, num_rows: int) -> None:
    rng, num_draws = np.random.default_rng(3), 1000
    covered = []
    for _ in range(num_draws):
        sets = label_sets(*_rows(rng, num_rows, multi_label=multi_label), coverage)
        covered.append(_covered(sets, *_rows(rng, 20, multi_label=multi_label)))
    error = np.std(covered) / np.sqrt(num_draws)
    assert np.mean(covered) >= coverage - 3 * error
    if not multi_label:  # and no more often than the rank allows: the most probable label and all sets are few
        assert np.mean(covered) <= coverage + 1 / (num_rows + 1) + 3 * error + 0.03


def test_the_threshold_is_a_rank_of_the_right_labels_probabilities() -> None:
    p_BC = np.linspace(0.05, 0.95, 19)
    sets = label_sets(np.stack([p_BC, 1 - p_BC], 1), np.tile([1, 0], (19, 1)), 0.9)
    assert sets.coverage == 0.9
    assert sets.threshold == pytest.approx(0.1)  # the second of 19


def test_too_few_rows_are_refused() -> None:
    p_BC, gold_BC = np.full((8, 2), 0.5), np.tile([1, 0], (8, 1))
    with pytest.raises(DataError, match=r"coverage 0\.9 need at least 9 rows, got 8"):
        label_sets(p_BC, gold_BC, 0.9)
    assert label_sets(np.full((9, 2), 0.5), np.tile([1, 0], (9, 1)), 0.9).threshold == 0.5


def test_rows_without_a_label_are_covered_by_every_set() -> None:
    sets = label_sets(np.full((20, 2), 0.5), np.zeros((20, 2), dtype=np.int64), 0.9)
    assert sets.threshold == 1
