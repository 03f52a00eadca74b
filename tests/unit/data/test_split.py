"""The development part: stratified, whole groups, deterministic."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from dhrd.data.labels import ByTask
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


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("num_rows", [4, 5, 9])
def test_many_labels_of_few_rows_each_still_give_the_share(share: float, num_rows: int) -> None:
    """What is too little of each label for a row of its own is drawn from some of them."""
    rows = [Example(id=f"{label}-{i}", label=str(label)) for label in range(77) for i in range(num_rows)]
    _, dev = split_dev(rows, share, 0)
    assert len(dev) == pytest.approx(share * len(rows), abs=1)
    drawn = Counter(row.label for row in dev)
    assert all(abs(drawn[str(label)] - share * num_rows) <= 1 for label in range(77))


def test_rows_with_several_labels_are_drawn_like_those_with_none() -> None:
    """Though hardly two have the same labels."""
    rng = random.Random(0)
    tags = [f"t{i}" for i in range(12)]
    rows = [Example(id=str(i), label=tuple(rng.sample(tags, rng.randint(2, 4))) if i % 2 else ()) for i in range(1000)]
    for seed in range(3):
        _, dev = split_dev(rows, 0.1, seed)
        assert len(dev) == 100
        assert sum(bool(row.label) for row in dev) == pytest.approx(50, abs=6)
        counts = Counter(name for row in dev for name in row.label or ())
        assert set(counts) == set(tags)


def test_of_several_tasks_the_first_that_a_row_has_is_its_stratum() -> None:
    """Whatever their kinds: of several labels the rarest counts there too."""
    rows = [Example(id=str(i), label=ByTask({"tags": ("x", "y") if i % 4 else ("x",)})) for i in range(40)]
    rows += [Example(id=f"t{i}", label=ByTask({"topic": "ab"[i % 2], "tags": ("x", "y")})) for i in range(40)]
    _, dev = split_dev([*rows, Example(id="none", label=ByTask({}))], 0.5, 0)
    drawn = Counter(
        next(iter(row.label.labels.items())) for row in dev if isinstance(row.label, ByTask) and row.label.labels
    )
    assert drawn == {("tags", ("x", "y")): 15, ("tags", ("x",)): 5, ("topic", "a"): 10, ("topic", "b"): 10}


def test_groups_that_do_not_fit_leave_their_place_to_smaller_ones() -> None:
    rows = [Example(id=f"{group}-{i}", label="a", group=str(group)) for group in range(5) for i in range(15)]
    rows += [Example(id=f"s{i}", label="a") for i in range(25)]
    for seed in range(10):
        _, dev = split_dev(rows, 0.1, seed)
        assert len(dev) in (10, *range(15, 18))  # a whole group is as close as none, if it comes first


def test_a_group_larger_than_the_part_does_not_end_it() -> None:
    rows = [*ROWS[:50], *(Example(id=f"g{i}", label="a", group="0") for i in range(50))]
    for seed in range(10):
        _, dev = split_dev(rows, 0.1, seed)
        assert len(dev) == 10


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
