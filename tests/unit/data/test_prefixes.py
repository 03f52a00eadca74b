"""Plans of shared prefixes: every row once, every token of it in its place, sharing only where it costs less."""

from __future__ import annotations

import numpy as np
import pytest

from dhrd.data.prefixes import Group, Past, SharingCost, apart, common_length, plan_sharing
from helpers.inference import forest

CHEAP = SharingCost(pair=0.0, overhead=4, max_pack_tokens=256, max_suffix_tokens=64)


def rebuilt(groups: list[Group], input_ids: list[list[int]]) -> dict[int, list[int]]:
    """Each row's tokens as the plan lays them out: what is shared from the row before it, the rest its own."""
    found: dict[int, list[int]] = {}
    for group in groups:
        prefix = input_ids[group.packs[0].rows[0]][: group.num_prefix_tokens]
        for pack in group.packs:
            path, laid = list(prefix), 0
            for row, shared in zip(pack.rows, pack.shared, strict=True):
                assert shared >= len(prefix)
                path = path[:shared] + input_ids[row][shared:]
                laid += len(input_ids[row]) - shared
                assert row not in found
                found[row] = path
            assert laid == pack.num_tokens > 0
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [16, 64, 256])
def test_a_plan_holds_every_row_once_and_whole(seed: int, limit: int) -> None:
    rows = forest(seed)
    cost = SharingCost(pair=0.001, overhead=4, max_pack_tokens=limit, max_suffix_tokens=limit)
    groups = plan_sharing(rows, cost)
    assert rebuilt(groups, rows) == dict(enumerate(rows))
    shared = [pack for group in groups for pack in group.packs if len(pack.rows) > 1]
    assert shared
    assert all(pack.num_tokens <= limit for pack in shared)


def test_what_rows_share_is_laid_out_once() -> None:
    paragraph, questions = list(range(30)), [[101, 102], [103, 104]]
    rows = [paragraph + question + [answer] for question in questions for answer in (1, 2, 3)]
    groups = plan_sharing(rows, CHEAP)
    assert [(group.num_prefix_tokens, [pack.num_tokens for pack in group.packs]) for group in groups] == [
        (0, [30 + 2 * 2 + 6])
    ]


def test_a_prefix_too_long_to_pack_is_kept_for_several_packs() -> None:
    rows = [list(range(250)) + [500 + row, row] * 5 for row in range(40)]
    (group,) = plan_sharing(rows, CHEAP)
    assert group.num_prefix_tokens == 250
    assert [pack.num_tokens for pack in group.packs] == [60] * 6 + [40]


def test_every_row_keeps_a_token_after_a_prefix() -> None:
    rows = [list(range(300)), list(range(300)), *(list(range(300)) + [row] * 60 for row in range(10, 30))]
    groups = plan_sharing(rows, CHEAP)
    assert {group.num_prefix_tokens for group in groups} == {299}
    assert rebuilt(groups, rows) == dict(enumerate(rows))


@pytest.mark.parametrize("rows", [[[1], [2], [3]], [[1, 2, 3]], [[5, 1, 1, 1] * 8, [5, 2, 2, 2] * 8]])
def test_rows_with_little_in_common_run_apart(rows: list[list[int]]) -> None:
    assert sorted(plan_sharing(rows, CHEAP), key=lambda group: group.packs[0].rows) == apart([len(row) for row in rows])
    assert plan_sharing([], CHEAP) == []


def test_a_dear_mask_keeps_rows_apart() -> None:
    rows = [list(range(20)) + [row] * 20 for row in range(100, 104)]
    assert len(plan_sharing(rows, SharingCost(pair=0.0))) == 1
    assert len(plan_sharing(rows, SharingCost(pair=1.0))) == 4


@pytest.mark.parametrize(
    ("past", "prefix", "kept"),
    [
        (Past(0, 0), 0, 0),
        (Past(40, 0), 40, 40),  # a kept prefix costs nothing, even for one row
        (Past(90, 0), 49, 49),  # a row keeps a token of its own
        (Past(0, 40), 40, 0),  # what came before will come again
        (Past(20, 40), 40, 20),
        (Past(3, 3), 0, 0),  # shorter than a pass costs
    ],
)
def test_one_row_uses_what_batches_before_it_had(past: Past, prefix: int, kept: int) -> None:
    row = list(range(50))
    (group,) = plan_sharing([row], CHEAP, [past])
    assert (group.num_prefix_tokens, group.num_kept_tokens) == (prefix, kept)
    assert rebuilt([group], [row]) == {0: row}


def test_rows_after_a_kept_prefix_run_together() -> None:
    rows = [[*range(200), *[300 + row] * 20] for row in range(4)] + [[*range(200), *[300] * 21]]
    (group,) = plan_sharing(rows, CHEAP, [Past(200, 0)] * 5)
    assert (group.num_prefix_tokens, group.num_kept_tokens) == (200, 200)
    assert [pack.num_tokens for pack in group.packs] == [61, 20]
    (other,) = plan_sharing(rows, CHEAP)
    assert other.num_kept_tokens == 0


def test_a_kept_prefix_of_a_few_rows_leaves_the_others_alone() -> None:
    rows = [list(range(100)), [500 + i for i in range(60)]]
    by_row = {g.packs[0].rows: g.num_kept_tokens for g in plan_sharing(rows, CHEAP, [Past(80, 0), Past()])}
    assert by_row == {(0,): 80, (1,): 0}


def test_trees_deeper_than_any_text_are_planned_whole() -> None:
    rows = [[1] * length for length in range(1, 400)]
    assert rebuilt(plan_sharing(rows, CHEAP), rows) == dict(enumerate(rows))


def test_common_length() -> None:
    one = np.array([1, 2, 3])
    assert [common_length(one, np.array(other)) for other in ([1, 2, 3], [1, 2], [2], [1, 2, 4, 5])] == [3, 2, 0, 2]
