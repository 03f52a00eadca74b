"""What each row is taught, by the mode (paper, Table 2)."""

from __future__ import annotations

from typing import Any

import pytest

from dhrd.data.records import Example
from dhrd.data.supervise import supervise
from dhrd.errors import DataError

ROWS = [Example(id=str(i), label=f"l{i}", rationale=None if i % 3 == 2 else f" r{i} ") for i in range(9)]
REASONED = [row for row in ROWS if row.rationale]


def test_aligned_rows_are_taught_their_own() -> None:
    for row, taught in zip(ROWS, supervise(ROWS, "aligned", 0), strict=True):
        assert taught.label_donor is taught.example is row
        assert taught.with_answer == (row.rationale is not None)
        assert taught.rationale == (row.rationale or "").strip()


def test_labels_alone_are_taught_on_the_same_rows() -> None:
    taught = supervise(ROWS, "label_only", 0)
    assert [row.with_answer for row in taught] == [row.rationale is not None for row in ROWS]
    assert not any(row.rationale for row in taught)
    bare = [Example(label="a"), Example(label="b")]
    assert [row.with_answer for row in supervise(bare, "label_only", 0)] == [True, True]


def test_without_its_rationale_a_row_is_taught_the_same_tasks_answer() -> None:
    asked = [Example(label="a", rationale="why", rationale_task="reason"), Example(label="b")]
    assert [row.task for row in supervise(asked, "aligned", 0)] == ["reason", None]
    assert [row.task for row in supervise(asked, "label_only", 0)] == ["reason", None]


@pytest.mark.parametrize("mode", ["shuffled", "shuffled_with_label"])
def test_every_rationale_is_taught_once_and_to_another_row(mode: Any) -> None:
    taught = [row for row in supervise(ROWS, mode, 3) if row.with_answer]
    assert [row.example for row in taught] == REASONED
    donors = [row.reason_donor for row in taught]
    assert sorted(donor.id for donor in donors if donor) == [row.id for row in REASONED]
    assert not any(donor is row.example for donor, row in zip(donors, taught, strict=True))
    whose = donors if mode == "shuffled_with_label" else REASONED
    assert all(row.label_donor is other for row, other in zip(taught, whose, strict=True))


def test_the_seed_decides_the_donors() -> None:
    rationales = [[row.rationale for row in supervise(ROWS, "shuffled", seed)] for seed in (0, 0, 1)]
    assert rationales[0] == rationales[1] != rationales[2]


def test_one_rationale_cannot_be_shuffled() -> None:
    with pytest.raises(DataError, match="shuffled needs at least two rows with a rationale, got 1"):
        supervise(ROWS[:1], "shuffled", 0)
