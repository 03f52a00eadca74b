"""Updates of a run: the same rows for any number of micro-batches and processes, from any step on."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any

import pytest

from dhrd.data.batches import PlannedUpdates
from dhrd.data.records import EncodedExample
from dhrd.data.sharing import Sharing

ROWS = [
    EncodedExample(id=f"r{i}", input_ids=[1] * (1 + i % 7), continuation_ids=[2] * (i % 3), label=(i % 2,))
    for i in range(37)
]
UPDATES = PlannedUpdates(examples=ROWS, num_labels=2, pad_token_id=0, batch_size=8, seed=5)


def rows_of(updates: PlannedUpdates, epoch: int = 0) -> list[list[str]]:
    """The ids of each update's rows, those that count."""
    found = []
    for update in updates.epoch(epoch):
        ids: list[str] = []
        for batch in update:
            assert batch.row_weight_B is not None
            ids += [row_id for row_id, weight in zip(batch.ids, batch.row_weight_B.tolist(), strict=True) if weight]
        found.append(ids)
    return found


def test_an_epoch_holds_every_row_once() -> None:
    updates = rows_of(UPDATES)
    assert len(updates) == UPDATES.updates_per_epoch == 5
    assert sorted(chain(*updates)) == sorted(row.id for row in ROWS)
    assert sorted(map(len, updates)) == [5, 8, 8, 8, 8]
    assert rows_of(UPDATES, 1) != updates


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "num_processes"), [(8, 1, 1), (1, 8, 1), (2, 4, 1), (4, 1, 2), (1, 2, 4), (2, 1, 4)]
)
def test_any_partition_has_the_same_rows_in_the_same_updates(
    batch_size: int, accumulation: int, num_processes: int
) -> None:
    processes = [
        replace(
            UPDATES,
            batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            num_processes=num_processes,
            process_index=index,
        )
        for index in range(num_processes)
    ]
    assert {one.rows_per_update for one in processes} == {8}
    shares = [rows_of(one) for one in processes]
    together = [sorted(chain(*update)) for update in zip(*shares, strict=True)]
    assert together == [sorted(update) for update in rows_of(UPDATES)]
    lengths = [[len(update) for update in one.epoch(0)] for one in processes]
    assert all(one == lengths[0] for one in lengths), "every process takes part in every collective"
    assert max(lengths[0]) == accumulation


def test_a_process_without_rows_runs_a_ghost() -> None:
    one = replace(UPDATES, examples=ROWS[:1], batch_size=1, num_processes=2, process_index=1)
    ((ghost,),) = one.epoch(0)
    assert ghost.row_weight_B is not None
    assert ghost.row_weight_B.tolist() == [0]
    assert ghost.ids == ("r0",)


def test_going_on_from_a_step_gives_the_rest() -> None:
    whole = list(UPDATES.epoch(3))
    rest = list(UPDATES.epoch(3, start=2))
    assert [[batch.ids for batch in update] for update in rest] == [[b.ids for b in update] for update in whole[2:]]
    assert list(UPDATES.epoch(3, start=5)) == []


def test_rationales_do_not_change_the_order() -> None:
    bare = [replace(row, continuation_ids=[]) for row in ROWS]
    assert rows_of(replace(UPDATES, examples=bare)) == rows_of(UPDATES)


ALIKE = [replace(row, input_ids=list(range(40)) + row.input_ids) for row in ROWS]


@pytest.mark.parametrize("options", [{}, {"sharing": Sharing(pair=1e-4)}, {"group_by_prefix": True}])
def test_sharing_changes_no_update_and_the_epoch_is_whole(options: dict[str, Any]) -> None:
    updates = replace(UPDATES, examples=ALIKE, **options)
    assert sorted(chain(*rows_of(updates))) == sorted(row.id for row in ROWS)
    assert rows_of(updates) == rows_of(updates)
    if "group_by_prefix" not in options:
        plain = rows_of(replace(UPDATES, examples=ALIKE))
        assert [sorted(update) for update in rows_of(updates)] == [sorted(update) for update in plain]


def test_shared_rows_come_as_trees() -> None:
    (batch,) = next(replace(UPDATES, examples=ALIKE, sharing=Sharing(pair=1e-4)).epoch(0))
    assert batch.tree is not None
    assert batch.tree.input_ids_SW.numel() < 0.4 * batch.input_ids_BT.numel()
    assert batch.tree.place_BT.shape == batch.input_ids_BT.shape
