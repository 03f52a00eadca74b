"""What a teacher is worth, by rows whose labels are known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from dhrd.metrics.intervals import wilson
from dhrd.rationales.gold import Gold, vote_shares
from dhrd.rationales.teacher.answers import Rationale


def gold(share: list[list[float]], right: list[int], **given: object) -> Gold:
    numbers: dict[str, object] = {"num_open": 0, "rejected": Counter[str](), **given}
    share_BC = np.array(share, dtype=float).reshape(len(share), 2)
    return Gold(share_BC=share_BC, gold_B=np.array(right, dtype=np.int64), **numbers)  # type: ignore[arg-type]


def test_accuracy_kappa_and_calibration() -> None:
    shares = [[1.0, 0.0]] * 4 + [[0.4, 0.6]] * 4
    found = gold(shares, [0, 0, 0, 0, 1, 1, 0, 0], rejected=Counter(empty=2), num_open=1)
    assert (found.num_rows, found.num_right, found.accuracy) == (11, 6, 0.75)
    assert found.interval == wilson(6, 8)
    assert found.kappa == pytest.approx(cohen_kappa_score([0, 0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]))
    bins = [(bin_["confidence"], bin_["accuracy"], bin_["count"]) for bin_ in found.calibration["reliability"]]
    assert bins == [(pytest.approx(0.6), 0.5, 4), (1.0, 1.0, 4)]
    assert found.calibration["ece"] == pytest.approx(0.5 * 0.1)
    lines = list(found.lines())
    assert lines[0].startswith("gold: 6 of 8 rows right: accuracy 0.750 (95 % interval 0.409 to 0.929), kappa 0.50")
    assert lines[1] == "gold: 3 further rows have no readable vote"
    assert lines[2] == "gold: votes that agree by 0.60: 4 rows, 0.50 of them right"
    assert lines[-1] == "gold: expected calibration error of the agreement 0.050"


def test_the_gate() -> None:
    found = gold([[1.0, 0.0], [1.0, 0.0]], [0, 1])
    assert [found.is_below(accuracy) for accuracy in (None, 0.4, 0.5, 0.51)] == [False, False, False, True]
    silent = gold([[1.0, 0.0]] * 10, [0] * 10, rejected=Counter(cut=40))
    assert silent.accuracy == 1 and silent.is_below(0.21) and not silent.is_below(0.2), "10 of 50 rows are right"


def test_no_row_with_a_vote() -> None:
    found = gold([], [], rejected=Counter(cut=3))
    assert (found.accuracy, found.interval, found.kappa, found.calibration) == (None, None, None, {})
    assert list(found.lines()) == ["gold: none of 3 rows has a readable vote"]
    assert found.is_below(0.1) and not found.is_below(None)
    assert found.record()["accuracy"] is None and found.record()["rejected"] == {"cut": 3}


def test_one_label_alone_has_no_kappa() -> None:
    found = gold([[1.0, 0.0]] * 3, [0, 0, 0])
    assert (found.accuracy, found.kappa) == (1.0, None)
    assert "kappa none (one label alone)" in next(found.lines())


def test_shares_of_votes() -> None:
    votes = [Rationale("", agrees=False, label=(place,)) for place in (2, 0, 2, 2)]
    assert vote_shares(votes, 4) == [0.25, 0.0, 0.75, 0.0]
