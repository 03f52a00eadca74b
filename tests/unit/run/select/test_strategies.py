"""Query strategies: what each wants, and what is drawn beside it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.cluster import kmeans_plusplus

from dhrd.run.select.strategies import (
    STRATEGIES,
    ScoredPool,
    by_diversity,
    by_gradient,
    by_margin,
    draw_rows,
    kmeans_plus_plus,
)


def draws(seed: int = 0) -> np.random.RandomState:
    return np.random.RandomState(seed)


def random_pool(count: int = 60, labels: int = 4, width: int = 5, seed: int = 0) -> ScoredPool:
    rng = np.random.default_rng(seed)
    return ScoredPool(rng.dirichlet([0.5] * labels, count), rng.normal(size=(count, width)))


@pytest.mark.parametrize("seed", range(5))
def test_centres_are_those_of_scikit_learn_among_the_products_themselves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    left_NK, right_ND = rng.normal(size=(80, 3)), rng.normal(size=(80, 7))
    products = np.einsum("nk,nd->nkd", left_NK, right_ND).reshape(80, -1)
    _, expected = kmeans_plusplus(products, 12, random_state=seed, n_local_trials=1)
    assert kmeans_plus_plus(left_NK, right_ND, 12, draws(seed)).tolist() == expected.tolist()


def test_copies_are_centres_only_when_nothing_else_is_left() -> None:
    vectors = np.repeat(np.eye(4), 5, axis=0)
    centres = kmeans_plus_plus(np.ones((20, 1)), vectors, 9, draws())
    assert sorted(centres[:4] // 5) == [0, 1, 2, 3]
    assert len({*centres.tolist()}) == 9


def test_the_margin_is_between_the_two_likeliest() -> None:
    pool = ScoredPool(
        np.array([[0.5, 0.4, 0.1], [0.34, 0.33, 0.33], [0.9, 0.1, 0.0], [0.5, 0.0, 0.5]]), np.ones((4, 2))
    )
    np.testing.assert_allclose(pool.unsure_N, [0.9, 0.99, 0.2, 1.0])
    assert by_margin(pool, 3, draws()).tolist() == [3, 1, 0]


def test_of_several_labels_the_most_doubtful_counts() -> None:
    pool = ScoredPool(np.array([[0.9, 0.55], [0.99, 0.02], [0.7, 0.3]]), np.ones((3, 2)), multi_label=True)
    np.testing.assert_allclose(pool.unsure_N, [0.9, 0.04, 0.6])
    assert by_margin(pool, 2, draws()).tolist() == [0, 2]


def test_each_region_gives_its_most_doubtful_row() -> None:
    rng = np.random.default_rng(0)
    pooled = np.concatenate([rng.normal(size=(10, 3)) + 100 * np.eye(3)[region] for region in range(3)])
    sure = np.linspace(0.51, 0.99, 30)
    sure[[4, 17, 29]] = 0.501
    chosen = by_diversity(ScoredPool(np.stack([sure, 1 - sure], axis=1), pooled), 3, draws())
    assert sorted(chosen.tolist()) == [4, 17, 29]


def test_equal_vectors_still_give_as_many_rows_as_asked_for() -> None:
    pool = ScoredPool(random_pool().probabilities_NC, np.ones((60, 5)))
    assert len({*by_diversity(pool, 20, draws()).tolist()}) == 20


@pytest.mark.parametrize("seed", range(3))
def test_badge_is_k_means_of_the_gradients(seed: int) -> None:
    pool = random_pool(seed=seed)
    said = np.eye(4)[pool.probabilities_NC.argmax(axis=1)]
    gradients = np.einsum("nc,nd->ncd", pool.probabilities_NC - said, pool.pooled_ND).reshape(60, -1)
    _, expected = kmeans_plusplus(gradients, 10, random_state=seed, n_local_trials=1)
    assert by_gradient(pool, 10, draws(seed)).tolist() == expected.tolist()


def test_badge_leaves_rows_that_teach_nothing() -> None:
    probabilities = np.array([[1.0, 0.0]] * 30 + [[0.6, 0.4]] * 10)
    pool = ScoredPool(probabilities, np.random.default_rng(0).normal(size=(40, 3)))
    assert (by_gradient(pool, 10, draws()) >= 30).sum() >= 9, "all of them have the same gradient: none"


@pytest.mark.parametrize("name", [None, *STRATEGIES])
def test_a_tenth_is_drawn_and_the_rest_chosen_of_what_is_left(name: str | None) -> None:
    pool = random_pool(200)
    choose = None if name is None else lambda rows, count, own: STRATEGIES[name](pool[rows], count, own)
    first, again, other = (draw_rows(200, 40, choose, seed=seed) for seed in (3, 3, 4))
    assert first == again and first.rows != other.rows
    assert len({*first.rows}) == 40
    drawn = [row for row, is_random in zip(first.rows, first.is_random, strict=True) if is_random]
    assert len(drawn) == (40 if name is None else 4) and first.inclusion_probability == len(drawn) / 200
    if name == "margin":
        left = np.setdiff1d(np.arange(200), drawn)
        wanted = left[by_margin(pool[left], 36, draws())].tolist()
        assert [row for row in first.rows if row not in drawn] == wanted
        assert sum(first.is_random[:20]) == 2, "the first half is a selection too"


def test_what_is_drawn_is_drawn_evenly() -> None:
    pool = random_pool(20)
    times: Counter[int] = Counter()
    for seed in range(2000):
        found = draw_rows(20, 10, lambda rows, count, own: by_margin(pool[rows], count, own), seed=seed)
        times.update(row for row, is_random in zip(found.rows, found.is_random, strict=True) if is_random)
    assert len(times) == 20 and 60 <= min(times.values()) <= max(times.values()) <= 140  # 100 ± 4 deviations


def test_the_whole_pool_can_be_asked_for() -> None:
    pool = random_pool(15)
    found = draw_rows(15, 15, lambda rows, count, own: by_diversity(pool[rows], count, own), seed=0)
    assert sorted(found.rows) == list(range(15))
    assert draw_rows(1, 1, lambda *_: pytest.fail("one row is drawn"), seed=0).rows == [0]
