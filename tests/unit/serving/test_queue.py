"""Rows that wait: each is taken once, in batches by new tokens, and no request keeps the others waiting."""

from __future__ import annotations

import random

import pytest

from dhrd.data.inputs import EncodedInput
from dhrd.serving.queue import Job, Part, TokenQueue, beginning_keys


def job(*lengths: int, beginning: int = 0, seed: int = 0) -> Job:
    """A row a length, after a beginning that all jobs share."""
    draw = random.Random(seed)
    rows = [[*range(beginning), *(draw.randrange(10**6) for _ in range(length))] for length in lengths]
    return Job([""] * len(rows), [EncodedInput("", ids) for ids in rows])


def sizes(parts: list[Part]) -> list[int]:
    return [len(part.inputs) for part in parts]


@pytest.mark.parametrize("seed", range(20))
def test_every_row_is_taken_once_and_no_batch_is_over_its_tokens(seed: int) -> None:
    draw = random.Random(seed)
    queue, most = TokenQueue(), draw.randint(1, 300)
    jobs = [job(*(draw.randint(1, 120) for _ in range(draw.randint(1, 9))), seed=n) for n in range(12)]
    for one in jobs:
        queue.put(one)
    assert queue.num_rows == sum(len(one.inputs) for one in jobs)
    assert queue.num_tokens == sum(one.num_waiting_tokens for one in jobs)
    taken: dict[int, list[EncodedInput]] = {id(one): [] for one in jobs}
    while parts := queue.take(most):
        tokens = [len(item.input_ids) for part in parts for item in part.inputs]
        assert sum(tokens) <= most or len(tokens) == 1
        for part in parts:
            taken[id(part.job)] += part.inputs
    assert [taken[id(one)] for one in jobs] == [list(one.inputs) for one in jobs]
    assert (queue.num_rows, queue.num_tokens) == (0, 0)


def test_tokens_that_rows_begin_with_in_common_count_once() -> None:
    queue = TokenQueue()
    for seed in range(10):
        queue.put(job(10, beginning=320, seed=seed))
    assert sizes(queue.take(320 + 10 * 10)) == [1] * 10
    apart = TokenQueue()
    for seed in range(10):
        apart.put(job(330, seed=seed))
    assert sizes(apart.take(320 + 10 * 10)) == [1]


def test_a_large_request_does_not_keep_the_others_waiting() -> None:
    queue, large, small = TokenQueue(), job(*[10] * 50, seed=1), job(10, seed=2)
    queue.put(large)
    queue.put(small)
    assert [part.job for part in queue.take(100)] == [large]
    assert [part.job for part in queue.take(100)] == [small, large]
    assert large.num_taken == 19


def test_what_nobody_waits_for_leaves_the_queue() -> None:
    queue, first, second = TokenQueue(), job(5, 5, seed=1), job(7, seed=2)
    queue.put(first)
    queue.put(second)
    queue.discard(first)
    queue.discard(first)
    assert (queue.num_rows, queue.num_tokens) == (1, 7)
    assert [part.job for part in queue.take(100)] == [second]


def test_beginnings_are_the_same_where_the_tokens_are() -> None:
    ids = list(range(100))
    keys = beginning_keys(ids)
    assert len(keys) == 3
    assert beginning_keys(ids[:64]) == keys[:2]
    assert beginning_keys([1, *ids[1:]])[0] != keys[0]
