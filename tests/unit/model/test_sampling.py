"""The distribution that tokens are drawn from."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from dhrd.model.sampling import RowSampler

PROBABILITIES = torch.tensor([0.5, 0.25, 0.0, 0.15, 0.1])
NUM_ROWS = 4000


def drawn(temperature: float, top_p: float) -> Counter[int]:
    sampler = RowSampler([[row] for row in range(NUM_ROWS)], [7] * NUM_ROWS, temperature, top_p)
    scores = sampler(torch.zeros(NUM_ROWS, 1, dtype=torch.long), PROBABILITIES.log().expand(NUM_ROWS, -1))
    assert bool((scores.max(-1).values == 0).all()) and int(scores.isfinite().sum()) == NUM_ROWS
    return Counter(scores.argmax(-1).tolist())


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1.0, 1.0, PROBABILITIES),
        (0.5, 1.0, PROBABILITIES**2 / (PROBABILITIES**2).sum()),
        (1.0, 0.7, torch.tensor([2 / 3, 1 / 3, 0, 0, 0])),
        (0.1, 0.7, torch.tensor([1.0, 0, 0, 0, 0])),
    ],
)
def test_tokens_have_the_probabilities_of_temperature_and_nucleus(
    temperature: float, top_p: float, expected: torch.Tensor
) -> None:
    counts = drawn(temperature, top_p)
    for token, share in enumerate(expected.tolist()):
        deviation = (share * (1 - share) / NUM_ROWS) ** 0.5
        assert counts[token] / NUM_ROWS == pytest.approx(share, abs=4 * deviation)


def test_more_tokens_than_a_models_own_limit_can_be_drawn() -> None:
    """A nucleus is asked for, and no number of tokens: transformers itself would take the best 50."""
    sampler = RowSampler([[row] for row in range(2000)], [0] * 2000, 1.0, 1.0)
    scores = sampler(torch.zeros(2000, 1, dtype=torch.long), torch.zeros(2000, 100))
    assert len(set(scores.argmax(-1).tolist())) == 100


def test_kept_rows_go_on_with_their_own_numbers() -> None:
    scores = torch.zeros(3, 1000)
    ids = torch.zeros(3, 1, dtype=torch.long)
    whole, some = (RowSampler([[0], [1], [2]], [0, 0, 0], 1.0, 1.0) for _ in range(2))
    assert torch.equal(whole(ids, scores), some(ids, scores))
    some.keep([0, 2])
    assert torch.equal(whole(ids, scores)[[0, 2]], some(ids[:2], scores[:2]))
