"""Micro-batches of an update: every row once, shared text once where it pays, bounded by tokens, equal in number."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import chain

import pytest

from dhrd.data.plan import micro_batches
from dhrd.data.sharing import NOTHING_SHARED, MicroBatch, Sharing
from helpers.inference import forest

ROWS = dict(enumerate(forest(0), 100))
LONE = {row: [row] * (5 + row % 20) for row in range(40)}
CHEAP = Sharing(pair=1e-4)
WHOLE = {"batch_size": 1000, "num_processes": 1, "process_index": 0}


def gathered(sharing: Sharing, rows: dict[int, list[int]], num_processes: int = 1) -> list[list[MicroBatch]]:
    """Of each process."""
    return [
        sharing.micro_batches(rows, batch_size=8, num_processes=num_processes, process_index=index)
        for index in range(num_processes)
    ]


def run_tokens(batch: MicroBatch, rows: dict[int, list[int]]) -> int:
    lengths = [pack.num_tokens for pack in batch.packs] or [len(rows[row]) for row in batch.rows]
    return len(lengths) * max(lengths)


@pytest.mark.parametrize("num_processes", [1, 2, 3])
@pytest.mark.parametrize(
    "sharing", [CHEAP, Sharing(max_tokens=300), Sharing(pair=1e-4, max_tokens=120, pack_rows=True)]
)
def test_every_row_is_run_once_and_every_process_takes_part(sharing: Sharing, num_processes: int) -> None:
    for rows in (ROWS, LONE):
        processes = gathered(sharing, rows, num_processes)
        assert sorted(row for one in processes for batch in one for row in batch.rows) == sorted(rows)
        assert len({len(one) for one in processes}) == 1
        for batch in chain(*processes):
            packed = sorted(row for pack in batch.packs for row in pack.rows)
            assert packed in ([], list(range(len(batch.rows))))
            if sharing.max_tokens and len(batch.rows) > 1 and batch.rows:
                assert run_tokens(batch, rows) <= sharing.max_tokens


def test_a_pack_has_its_rows_tokens() -> None:
    for batch in chain(*gathered(CHEAP, ROWS)):
        for pack in batch.packs:
            path: list[int] = []
            new = 0
            for row, shared in zip(pack.rows, pack.shared, strict=True):
                tokens = ROWS[batch.rows[row]]
                assert path[:shared] == tokens[:shared]
                path, new = tokens, new + len(tokens) - shared
            assert new == pack.num_tokens


def test_what_is_shared_is_run_once_in_no_more_memory() -> None:
    (own,) = gathered(CHEAP, ROWS)
    num_run = sum(run_tokens(batch, ROWS) for batch in own if batch.rows)
    assert num_run < 0.4 * sum(map(len, ROWS.values()))
    (by_rows,) = gathered(NOTHING_SHARED, ROWS)
    assert max(run_tokens(batch, ROWS) for batch in own) <= max(run_tokens(batch, ROWS) for batch in by_rows)
    assert len(own) < len(by_rows)


def test_where_launching_is_the_bottleneck_another_micro_batch_must_pay() -> None:
    mixed = dict(enumerate([*ROWS.values(), *LONE.values()]))  # rows that share text and others are never run together
    sharing = [replace(CHEAP, launch=launch).micro_batches(mixed, **WHOLE) for launch in (0, 10, 10**6)]
    by_rows = NOTHING_SHARED.micro_batches(mixed, **WHOLE)
    assert any(batch.packs for batch in sharing[0]) and any(batch.packs for batch in sharing[1])
    assert sharing[2] == by_rows and len(sharing[1]) > len(by_rows)


@pytest.mark.parametrize("num_processes", [1, 2])
def test_rows_that_share_nothing_stay_as_they_were(num_processes: int) -> None:
    for index, own in enumerate(gathered(CHEAP, LONE, num_processes)):
        slices = micro_batches(tuple(LONE), batch_size=8, num_processes=num_processes, process_index=index)
        assert own == [MicroBatch(rows) for rows in slices]


def test_a_dear_mask_keeps_rows_apart_and_blocks_do_not() -> None:
    stem = list(range(30))
    rows = {row: [*stem, *[row] * 60] for row in range(100, 132)}
    dense, blocks = (gathered(Sharing(pair=0.002, dense=dense, max_tokens=4096), rows)[0] for dense in (True, False))
    assert max(len(pack.rows) for batch in blocks for pack in batch.packs) == 32
    assert max((len(pack.rows) for batch in dense for pack in batch.packs), default=1) < 8


def test_rows_in_one_sequence_need_no_padding() -> None:
    draw = random.Random(0)
    rows = {row: [row] * draw.randint(5, 100) for row in range(32)}
    (own,) = gathered(Sharing(pack_rows=True, max_tokens=400), rows)
    assert all(len(batch.packs) == 1 for batch in own)
    assert sum(run_tokens(batch, rows) for batch in own) == sum(map(len, rows.values()))


def test_a_row_longer_than_the_limit_is_one_of_its_own() -> None:
    rows = {0: [1] * 500, 1: [2] * 10, 2: [3] * 12}
    (own,) = gathered(Sharing(max_tokens=100), rows)
    assert [batch.rows for batch in own] == [(1, 2), (0,)]
