"""The development part: stratified, whole groups, deterministic."""

from __future__ import annotations

from collections import Counter

import pytest

from dhrd.data.records import Example
from dhrd.data.split import split_dev, split_fold
from dhrd.errors import DataError

LABELS = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
ROWS = [Example(id=str(i), input_text=str(i), label=label) for i, label in enumerate(LABELS)]


def test_every_row_is_in_one_part_and_the_order_stays() -> None:
    train, dev = split_dev(ROWS, 0.2, seed=0)
    assert sorted([*train, *dev], key=lambda row: int(row.id)) == ROWS
    assert len(train) + len(dev) == len(ROWS)
    for part in (train, dev):
        assert [int(row.id) for row in part] == sorted(int(row.id) for row in part)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_the_part_is_stratified(share: float) -> None:
    for seed in range(5):
        _, dev = split_dev(ROWS, share, seed)
        assert Counter(row.label for row in dev) == {"a": 60 * share, "b": 30 * share, "c": 10 * share}


def test_the_seed_decides() -> None:
    assert split_dev(ROWS, 0.2, 1) == split_dev(ROWS, 0.2, 1)
    assert split_dev(ROWS, 0.2, 1) != split_dev(ROWS, 0.2, 2)


def test_groups_stay_whole() -> None:
    rows = [
        Example(id=f"{group}-{i}", label=("a", "b")[i % 2], group=str(group))
        for group in range(40)
        for i in range(1 + group % 5)
    ]
    for seed in range(5):
        train, dev = split_dev(rows, 0.25, seed)
        assert {row.group for row in train}.isdisjoint({row.group for row in dev})
        assert len(dev) == pytest.approx(0.25 * len(rows), abs=5)


def test_rows_without_a_group_are_on_their_own_beside_groups() -> None:
    rows = [*ROWS, *(Example(id=f"g{i}", label="a", group="0") for i in range(4))]
    train, dev = split_dev(rows, 0.2, 0)
    assert len({row.id.startswith("g") for row in train if row.group}) <= 1
    assert sum(row.group == "0" for row in dev) in (0, 4)
    assert len(dev) == pytest.approx(0.2 * len(rows), abs=4)


def test_lists_of_labels_are_strata_too() -> None:
    rows = [Example(id=str(i), label=("a", "b") if i % 2 else ()) for i in range(20)]
    _, dev = split_dev(rows, 0.5, 0)
    assert Counter(row.label for row in dev) == {("a", "b"): 5, (): 5}


@pytest.mark.parametrize(("rows", "share"), [(ROWS[:4], 0.1), (ROWS[:1], 0.9)])
def test_a_share_that_leaves_a_part_empty_is_refused(rows: list[Example], share: float) -> None:
    with pytest.raises(DataError, match=rf"data.dev_share: {share} of {len(rows)} rows leaves"):
        split_dev(rows, share, 0)


def test_a_larger_share_holds_a_smaller_one() -> None:
    small, large = (split_dev(ROWS, share, 0)[1] for share in (0.25, 0.5))
    assert {row.id for row in small} < {row.id for row in large}


@pytest.mark.parametrize("num_folds", [2, 3, 5])
def test_every_row_is_held_out_in_one_fold_and_trained_on_in_the_others(num_folds: int) -> None:
    parts = [split_fold(ROWS, fold, num_folds, seed=0) for fold in range(num_folds)]
    held_out = Counter(row.id for _, dev in parts for row in dev)
    assert held_out == {row.id: 1 for row in ROWS}
    for train, dev in parts:
        assert {row.id for row in train} == {row.id for row in ROWS} - {row.id for row in dev}


def test_folds_are_stratified_and_as_large_as_each_other() -> None:
    for fold in range(5):
        _, dev = split_fold(ROWS, fold, 5, seed=3)
        assert Counter(row.label for row in dev) == {"a": 12, "b": 6, "c": 2}


def test_few_rows_of_each_label_still_make_even_folds() -> None:
    rows = [Example(id=f"{label}{i}", label=label) for label in "abcdefg" for i in range(2)]
    assert sorted(len(split_fold(rows, fold, 5, seed=0)[1]) for fold in range(5)) == [2, 3, 3, 3, 3]


def test_a_group_is_in_one_fold() -> None:
    rows = [Example(id=f"{g}-{i}", label="ab"[(g + i) % 2], group=str(g)) for g in range(12) for i in range(5)]
    for fold in range(4):
        train, dev = split_fold(rows, fold, 4, seed=0)
        assert not {row.group for row in train} & {row.group for row in dev}


def test_the_seed_decides_the_folds() -> None:
    first, same, other = (split_fold(ROWS, 0, 5, seed=seed)[1] for seed in (0, 0, 1))
    assert first == same != other


def test_more_folds_than_rows_are_refused() -> None:
    with pytest.raises(DataError, match="5 folds of 3 rows leave one empty"):
        split_fold(ROWS[:3], 0, 5, seed=0)
