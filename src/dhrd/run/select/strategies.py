"""Query strategies of active learning: which rows of a pool to select, given a classifier's predictions.

    margin    the least margin between the two likeliest labels (Scheffer et al. 2001)
    diverse   k-means++ over the pooled vectors, and from each centre's rows the one with the least margin
    badge     k-means++ over the gradients of the head's last layer (Ash et al. 2020, arXiv 1906.03671)

With every strategy, a tenth of the rows is drawn at random: only these are representative of the pool.

Shape legend: N rows of the pool, C labels, D hidden, K factors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from sklearn.metrics import pairwise_distances_argmin

from dhrd.config.section import check_count
from dhrd.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ScoredPool:
    """A pool with a classifier's predictions.

    Args:
        probabilities_NC: Probabilities of the labels.
        pooled_ND: The vectors read by the classification head.
        multi_label: Whether a row may have several labels.
    """

    probabilities_NC: Float[np.ndarray, "N C"]
    pooled_ND: Float[np.ndarray, "N D"]
    multi_label: bool = False

    @property
    def unsure_N(self) -> Float[np.ndarray, "N"]:
        """1 − the margin: 1 where the two likeliest labels are equally likely, 0 where one is certain.

        For multi-label rows, that of the label it is least sure about.
        """
        if self.multi_label:
            return 1 - np.abs(2 * self.probabilities_NC - 1).min(axis=1)
        first_two_N2 = np.partition(self.probabilities_NC, -2, axis=1)[:, -2:]
        return 1 - (first_two_N2[:, 1] - first_two_N2[:, 0])

    def __getitem__(self, rows: np.ndarray) -> ScoredPool:
        """Select rows by index."""
        return ScoredPool(self.probabilities_NC[rows], self.pooled_ND[rows], self.multi_label)


Strategy = Callable[[ScoredPool, int, np.random.RandomState], np.ndarray]
"""Takes a pool and a number of rows (at most the pool's size); returns their indices, the most wanted first."""

Choose = Callable[[np.ndarray, int, np.random.RandomState], np.ndarray]
"""The same, restricted to the given rows of the pool; the returned indices are into these."""

ROWS_A_DRAWN_ONE = 10
"""One in this many selected rows is drawn at random."""


def by_margin(pool: ScoredPool, num_rows: int, draws: np.random.RandomState) -> np.ndarray:
    """The rows with the smallest margins."""
    return np.argsort(-pool.unsure_N, kind="stable")[:num_rows]


def by_diversity(pool: ScoredPool, num_rows: int, draws: np.random.RandomState) -> np.ndarray:
    """Partition the pooled vectors into as many regions, and take the row with the smallest margin from each."""
    ones_N1 = np.ones((len(pool.pooled_ND), 1), dtype=pool.pooled_ND.dtype)
    centres = kmeans_plus_plus(ones_N1, pool.pooled_ND, num_rows, draws)
    region_N = pairwise_distances_argmin(pool.pooled_ND, pool.pooled_ND[centres])
    by_doubt_N = by_margin(pool, len(region_N), draws)
    _, first = np.unique(region_N[by_doubt_N], return_index=True)
    chosen = by_doubt_N[np.sort(first)]
    rest = by_doubt_N[~np.isin(by_doubt_N, chosen)]  # equal vectors can leave regions empty
    return np.concatenate([chosen, rest])[:num_rows]


def by_gradient(pool: ScoredPool, num_rows: int, draws: np.random.RandomState) -> np.ndarray:
    """BADGE: rows whose gradients, if the likeliest label were right, are large and point in many directions.

    A row's gradient is (p − ŷ) ⊗ h, C · D numbers that are never built. With an `mlp` head h is what goes into its
    first layer, as a stand-in for the gradient of the last.
    """
    p_NC = pool.probabilities_NC
    said_NC = p_NC >= 0.5 if pool.multi_label else np.eye(p_NC.shape[1])[p_NC.argmax(axis=1)]
    return kmeans_plus_plus((p_NC - said_NC).astype(pool.pooled_ND.dtype), pool.pooled_ND, num_rows, draws)


STRATEGIES: dict[str, Strategy] = {"margin": by_margin, "diverse": by_diversity, "badge": by_gradient}
"""Strategies by name, besides `random`."""

RANDOM = "random"
"""The baseline strategy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionQuery:
    """What to select.

    Args:
        num_rows: Number of rows.
        strategy: `random` or a key of `STRATEGIES`; for rationales `random` or `margin`.
        exclude: Files of known rows, matched by id or text.
        seed: Random seed.
        task: With several tasks, the one to select for; None: the only task.

    Raises:
        ConfigError: The strategy is unknown, or the number of rows is invalid.
    """

    num_rows: int
    strategy: str = RANDOM
    exclude: tuple[Path, ...] = ()
    seed: int = 0
    task: str | None = None

    def __post_init__(self) -> None:
        check_count("num_rows", self.num_rows)
        if self.strategy not in (RANDOM, *STRATEGIES):
            known = ", ".join((RANDOM, *STRATEGIES))
            raise ConfigError(f"`strategy={self.strategy}`: unknown; give one of {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Rows of a pool, in an order such that any prefix has about the same share of random rows.

    Args:
        rows: Their indices.
        is_random: Which of them were drawn at random from the whole pool.
        inclusion_probability: The probability of each row of the pool to be drawn at random.
    """

    rows: list[int]
    is_random: list[bool]
    inclusion_probability: float


def draw_rows(num_pool: int, num_rows: int, choose: Choose | None, *, seed: int) -> Drawn:
    """Draw a tenth of the rows at random, then choose the others from the rest.

    Args:
        num_pool: Number of rows in the pool.
        num_rows: Number of rows to return, at most `num_pool`.
        choose: Chooses a number of rows from the remaining ones; None: draw all rows at random.
        seed: Random seed.
    """
    draws = np.random.RandomState(seed)
    num_drawn = num_rows if choose is None else -(-num_rows // ROWS_A_DRAWN_ONE)
    drawn = draws.choice(num_pool, num_drawn, replace=False)
    rest, num_chosen = np.setdiff1d(np.arange(num_pool), drawn), num_rows - num_drawn
    chosen = rest[choose(rest, num_chosen, draws)] if choose is not None and num_chosen else rest[:0]
    placed = sorted(
        ((place + 0.5) / len(part), int(row), part is drawn)
        for part in (drawn, chosen)
        for place, row in enumerate(part)
    )
    return Drawn(
        rows=[row for _, row, _ in placed],
        is_random=[is_random for *_, is_random in placed],
        inclusion_probability=len(drawn) / num_pool,
    )


def kmeans_plus_plus(
    left_NK: Float[np.ndarray, "N K"],
    right_ND: Float[np.ndarray, "N D"],
    num_centres: int,
    draws: np.random.RandomState,
) -> np.ndarray:
    """Centres of k-means++ (Arthur and Vassilvitskii 2007) among outer products, which are never built:

        ‖a ⊗ h − b ⊗ g‖² = ‖a‖²‖h‖² + ‖b‖²‖g‖² − 2 (a · b)(h · g)

    The same centres as scikit-learn's `kmeans_plusplus` with `n_local_trials=1` has of the products themselves.

    Args:
        left_NK: The left factors; all ones for k-means++ over the right factors only.
        right_ND: The right factors.
        num_centres: Number of centres, at most N.
        draws: The random generator. The first centre is drawn uniformly, each further one with probability proportional
            to its squared distance to the nearest centre so far.

    Returns:
        Their indices in the order of drawing; arbitrary rows once all remaining ones are equal to a centre.
    """
    square_N = (left_NK**2).sum(axis=1) * (right_ND**2).sum(axis=1)
    centres = [int(draws.choice(len(square_N), p=np.full(len(square_N), 1 / len(square_N))))]
    nearest_N = np.full(len(square_N), np.inf)
    while len(centres) < num_centres:
        last = centres[-1]
        dots_N = (left_NK @ left_NK[last]) * (right_ND @ right_ND[last])
        nearest_N = np.minimum(nearest_N, np.maximum(square_N + square_N[last] - 2 * dots_N, 0))
        nearest_N[centres] = 0
        reached_N = np.cumsum(nearest_N, dtype=np.float64)
        if not reached_N[-1]:
            others = np.setdiff1d(np.arange(len(square_N)), centres)
            return np.concatenate([centres, draws.permutation(others)])[:num_centres]
        drawn = int(np.searchsorted(reached_N, draws.uniform() * reached_N[-1], side="right"))
        centres.append(min(drawn, int(nearest_N.nonzero()[0][-1])))  # a draw may be rounded up to the total
    return np.array(centres)
