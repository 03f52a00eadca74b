"""Batches by tokens: every input once, no batch over its limit, little padding."""

from __future__ import annotations

import random

import pytest

from dhrd.data.buckets import buckets


def run_tokens(lengths: list[int], batches: list[list[int]]) -> int:
    return sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)


@pytest.mark.parametrize("max_tokens", [1, 64, 1024])
def test_every_input_is_in_one_batch_within_the_limit(max_tokens: int) -> None:
    draw = random.Random(0)
    lengths = [draw.randint(1, 200) for _ in range(300)]
    batches = buckets(lengths, max_tokens, 16)
    assert sorted(index for batch in batches for index in batch) == list(range(300))
    assert all(len(batch) == 1 or run_tokens(lengths, [batch]) <= max_tokens for batch in batches)


@pytest.mark.parametrize("seed", range(3))
def test_padding_is_under_a_twentieth_where_rows_are_many(seed: int) -> None:
    draw = random.Random(seed)
    lengths = [min(512, int(draw.lognormvariate(4.8, 0.5))) for _ in range(1000)]
    in_order = [list(range(start, start + 32)) for start in range(0, 992, 32)] + [list(range(992, 1000))]
    assert run_tokens(lengths, in_order) / sum(lengths) > 1.5  # what sorting saves
    assert run_tokens(lengths, buckets(lengths, 2048, 128)) / sum(lengths) <= 1.05


def test_another_batch_is_dearer_than_a_little_padding() -> None:
    lengths = [10, 20, 30]
    assert buckets(lengths, 1000, 0) == [[0], [1], [2]]
    assert buckets(lengths, 1000, 30) == [[0, 1, 2]]
    assert buckets([], 10) == []
