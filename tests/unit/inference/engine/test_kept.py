"""Prefixes across batches: kept when they come again, the least used leave, and what comes once displaces nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dhrd.config.model import Pooling
from dhrd.data.prefixes import Past, SharingCost, plan_sharing
from dhrd.inference.engine.kept import Beginnings, KeptPrefixes
from dhrd.inference.engine.options import Options
from dhrd.inference.engine.passes import Passes
from helpers.models import make_causal_lm

INSTRUCTION = [(13 * i) % 251 for i in range(40)]
COST = SharingCost(pair=1e-4, overhead=4)


def rows(batch: int, count: int = 3) -> list[list[int]]:
    return [[*INSTRUCTION, 100 + batch, 200 + row, row] for row in range(count)]


def passes(pooling: Pooling = "last", max_kept_tokens: int = 400) -> Passes:
    options = Options(max_tokens_per_pass=400, pass_overhead_tokens=4, max_kept_tokens=max_kept_tokens)
    return Passes(make_causal_lm("gemma3").eval().base_model, pooling=pooling, pad_token_id=0, options=options)


def vectors(run: Passes, inputs: list[list[int]]) -> Tensor:
    found: dict[int, Tensor] = {}
    with torch.inference_mode():
        for order, pooled in run.run(plan_sharing(inputs, COST, run.kept.past(inputs)), inputs):
            found |= dict(zip(order, pooled, strict=True))
    return torch.stack([found[row] for row in sorted(found)])


def tokens_of(run: Passes, inputs: list[list[int]]) -> int:
    before = run.work.num_run_tokens
    vectors(run, inputs)
    return run.work.num_run_tokens - before


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_kept_prefixes_change_no_vector(pooling: Pooling) -> None:
    run = passes(pooling)
    for batch in range(4):
        deeper = [[*row, 7, 8, 9, 10, 11, 12, batch, index] for row in rows(0, 1) for index in range(3)]
        for inputs in (rows(batch), rows(batch, 1), deeper, [INSTRUCTION[:30], INSTRUCTION]):
            alone = vectors(passes(pooling, max_kept_tokens=0), inputs)
            torch.testing.assert_close(vectors(run, inputs), alone, rtol=0, atol=1e-4)
    assert run.work.num_needed_tokens == run.work.num_run_tokens
    assert run.kept.num_tokens >= len(INSTRUCTION)


@pytest.mark.parametrize("count", [1, 3])
def test_a_beginning_that_comes_again_is_computed_no_third_time(count: int) -> None:
    run = passes()
    first, second, third, fourth = (tokens_of(run, rows(batch, count)) for batch in range(4))
    assert min(first, second) >= len(INSTRUCTION) > third == fourth
    assert fourth == 1 + 2 * count  # what the rows of a batch have in common, and two tokens of each


def test_rows_that_share_nothing_leave_nothing() -> None:
    run = passes()
    for batch in range(5):
        vectors(run, [[batch, row] * 20 for row in range(3)])
    assert run.kept.num_tokens == 0


def test_a_cycle_of_more_than_there_is_room_for_keeps_nothing() -> None:
    run, cycle = passes(max_kept_tokens=100), [[row] * 40 for row in range(4)]
    assert [tokens_of(run, [row]) for _ in range(3) for row in cycle] == [40] * 12


def test_a_prefix_goes_on_from_what_is_kept_of_it() -> None:
    run = passes()
    for batch in range(2):
        vectors(run, rows(batch))
    deeper = [[*INSTRUCTION, *range(20), row, row + 1] for row in range(100, 140)]
    assert tokens_of(run, deeper) == 20 + 2 * 40


def test_what_is_planned_is_still_there_when_another_prefix_takes_its_room() -> None:
    run = passes(max_kept_tokens=90)
    other = [[*range(50), 100 + row, row] for row in range(3)]
    for inputs in (rows(0), rows(1), other):
        vectors(run, inputs)
    both = [*other, *rows(2)]
    alone = vectors(passes(max_kept_tokens=0), both)
    torch.testing.assert_close(vectors(run, both), alone, rtol=0, atol=1e-4)
    assert run.kept.num_tokens <= 90


def test_beginnings_are_found_by_what_they_have_in_common() -> None:
    kept: Beginnings[str] = Beginnings(max_tokens=10, least=2)
    assert kept.longest([1, 2, 3]) == (0, None)
    kept.put([1, 2, 3, 4], "a")
    kept.put([5, 6, 7], "b")
    kept.put([1], "too short")
    kept.put(range(11), "too long")
    assert kept.num_tokens == 7
    assert [kept.longest(row) for row in ([1, 2, 3, 9], [1, 2], [5, 6, 7, 8, 9], [1, 9], [], [5])] == [
        (3, "a"), (2, "a"), (3, "b"), (0, None), (0, None), (0, None),
    ]  # fmt: skip


def test_the_least_used_leaves() -> None:
    kept: Beginnings[str] = Beginnings(max_tokens=9, least=2)
    for value in "abc":
        kept.put([ord(value)] * 3, value)
    kept.longest([ord("a")] * 5)
    kept.put([1, 2, 3], "d")
    assert [kept.longest([ord(value)] * 3)[1] for value in "abc"] == ["a", None, "c"]
    kept.put([1, 2, 3], "e")
    assert (kept.num_tokens, kept.longest([1, 2, 3])) == (9, (3, "e"))


def test_nothing_is_kept_without_room() -> None:
    none = KeptPrefixes(0, 4)
    assert none.past(rows(0)) == [Past()] * 3
    assert none.find(INSTRUCTION) is None
