"""The plan: every row once, a pure function, the same updates for any partition into micro-batches."""

from __future__ import annotations

import random
from itertools import chain, product

import pytest

from dhrd.data.plan import micro_batches, num_updates, plan_epoch, plan_epoch_by_prefix

LENGTHS = random.Random(0).choices(range(1, 300), k=1003)


@pytest.mark.parametrize(
    ("num_rows", "rows_per_update"), [(1, 1), (1, 8), (7, 8), (8, 8), (9, 8), (1003, 32), (640, 5)]
)
def test_every_row_is_in_one_update(num_rows: int, rows_per_update: int) -> None:
    updates = plan_epoch(LENGTHS[:num_rows], seed=3, epoch=1, rows_per_update=rows_per_update)
    assert sorted(chain(*updates)) == list(range(num_rows))
    assert len(updates) == num_updates(num_rows, rows_per_update)
    short = [update for update in updates if len(update) != rows_per_update]
    assert len(short) == (num_rows % rows_per_update > 0)
    assert all(0 < len(update) < rows_per_update for update in short)


def test_the_plan_is_a_pure_function_of_its_arguments() -> None:
    first = plan_epoch(LENGTHS, seed=0, epoch=0, rows_per_update=8)
    random.seed(99)
    random.random()
    assert plan_epoch(tuple(LENGTHS), seed=0, epoch=0, rows_per_update=8) == first


def test_the_plan_of_a_seed_never_changes_between_versions() -> None:
    # A resumed run reads the plan again: a change here would train other rows after the checkpoint.
    assert plan_epoch([5, 3, 9, 1, 7], seed=1, epoch=2, rows_per_update=2) == [(0, 4), (2,), (3, 1)]


def test_seeds_and_epochs_differ() -> None:
    plans = [
        plan_epoch(LENGTHS, seed=seed, epoch=epoch, rows_per_update=8) for seed, epoch in product(range(3), range(3))
    ]
    distinct = {tuple(plan) for plan in plans}
    assert len(distinct) == 9
    assert len({frozenset(frozenset(update) for update in plan) for plan in plans}) == 9, "not only another order"


def test_rows_of_an_update_have_similar_lengths() -> None:
    def padded(updates: list[tuple[int, ...]]) -> int:
        return sum(max(LENGTHS[row] for row in update) * len(update) for update in updates)

    planned = plan_epoch(LENGTHS, seed=0, epoch=0, rows_per_update=8)
    rows = list(range(len(LENGTHS)))
    unsorted = [tuple(rows[i : i + 8]) for i in range(0, len(rows), 8)]
    assert sum(LENGTHS) <= padded(planned) < 1.1 * sum(LENGTHS) < padded(unsorted)


def test_updates_do_not_come_in_the_order_of_their_lengths() -> None:
    longest = [max(LENGTHS[row] for row in u) for u in plan_epoch(LENGTHS, seed=0, epoch=0, rows_per_update=8)]
    assert longest[:16] not in (sorted(longest[:16]), sorted(longest[:16], reverse=True))


def test_any_partition_holds_the_same_update() -> None:
    checked = 0
    for num_rows, batch_size, num_processes in product(range(1, 14), (1, 2, 3, 8), (1, 2, 3, 4)):
        update = tuple(range(100, 100 + num_rows))
        shares = [
            micro_batches(update, batch_size=batch_size, num_processes=num_processes, process_index=index)
            for index in range(num_processes)
        ]
        assert sorted(chain(*chain(*shares))) == list(update)
        assert len({len(share) for share in shares}) == 1, "all processes take part in every collective"
        assert all(len(one) <= batch_size for share in shares for one in share)
        assert any(share[-1] for share in shares), "no round is empty on every process"
        checked += 1
    assert checked == 208


def test_accumulation_and_processes_slice_alike() -> None:
    update = tuple(range(8))
    alone = micro_batches(update, batch_size=2)
    assert alone == [(0, 1), (2, 3), (4, 5), (6, 7)]
    two = [micro_batches(update, batch_size=2, num_processes=2, process_index=index) for index in (0, 1)]
    assert two == [[(0, 1), (4, 5)], [(2, 3), (6, 7)]]
    assert micro_batches((1, 2, 3), batch_size=2, num_processes=2, process_index=1) == [(3,)]
    assert micro_batches((1, 2), batch_size=2, num_processes=2, process_index=1) == [()]


def paragraphs() -> list[list[int]]:
    """Forty rows under each of seven beginnings, of which two begin with one instruction, and 23 that stand alone."""
    draw = random.Random(0)
    tokens = lambda count: [draw.randrange(1000) for _ in range(count)]  # noqa: E731
    instruction = tokens(40)
    stems = [instruction + tokens(30) if number < 2 else tokens(50) for number in range(7)]
    rows = [stem + tokens(9) for stem in stems for _ in range(40)] + [tokens(60) for _ in range(23)]
    draw.shuffle(rows)
    return rows


def test_rows_that_begin_alike_meet_in_an_update() -> None:
    rows = paragraphs()
    updates = plan_epoch_by_prefix(rows, seed=0, epoch=0, rows_per_update=20)
    assert sorted(chain(*updates)) == list(range(len(rows)))
    assert len(updates) == num_updates(len(rows), 20)
    kinds = [len({tuple(rows[row][:50]) for row in update}) for update in updates]
    by_length = plan_epoch([len(row) for row in rows], seed=0, epoch=0, rows_per_update=20)
    assert sum(kinds) < 0.6 * sum(len({tuple(rows[row][:50]) for row in update}) for update in by_length)


def test_the_walk_by_prefix_is_drawn_anew_and_is_a_pure_function() -> None:
    rows = paragraphs()
    plan = lambda **changed: plan_epoch_by_prefix(rows, **{"seed": 0, "epoch": 0, "rows_per_update": 20} | changed)  # noqa: E731
    assert plan() == plan()
    assert len({frozenset(frozenset(update) for update in one) for one in (plan(), plan(seed=1), plan(epoch=1))}) == 3


def test_a_word_in_common_is_chance() -> None:
    rows = [[1, 2, 3, row] for row in range(64)]
    updates = plan_epoch_by_prefix(rows, seed=0, epoch=0, rows_per_update=64)
    assert updates[0] != tuple(sorted(updates[0])) and len(updates) == 1


def test_rows_of_one_word_are_planned_whole() -> None:
    rows = [[7] * length for length in range(1, 300)]
    assert sorted(chain(*plan_epoch_by_prefix(rows, seed=0, epoch=0, rows_per_update=8))) == list(range(299))
