"""Query strategies of active learning: which rows of a pool are worth asking for, by what a classifier says of them.

    margin    the two likeliest labels are nearest to each other (Scheffer et al. 2001)
    diverse   k-means++ over the pooled vectors, and from each centre's rows the one with the least margin
    badge     k-means++ over the gradients of the head's last layer (Ash et al. 2020, arXiv 1906.03671)

Whatever the strategy, a tenth of the rows is drawn at random: from these alone can be told what the pool is like.

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
    """A pool as a classifier sees it.

    Args:
        probabilities_NC: Of its labels.
        pooled_ND: The vectors that its head reads.
        multi_label: Whether a row may have several labels.
    """

    probabilities_NC: Float[np.ndarray, "N C"]
    pooled_ND: Float[np.ndarray, "N D"]
    multi_label: bool = False

    @property
    def unsure_N(self) -> Float[np.ndarray, "N"]:
        """1 − the margin: 1 where the two likeliest labels are equally likely, 0 where one is certain.

        Of several labels that of the most doubtful one, to have it or not.
        """
        if self.multi_label:
            return 1 - np.abs(2 * self.probabilities_NC - 1).min(axis=1)
        first_two_N2 = np.partition(self.probabilities_NC, -2, axis=1)[:, -2:]
        return 1 - (first_two_N2[:, 1] - first_two_N2[:, 0])

    def __getitem__(self, rows: np.ndarray) -> ScoredPool:
        """Some of its rows."""
        return ScoredPool(self.probabilities_NC[rows], self.pooled_ND[rows], self.multi_label)


Strategy = Callable[[ScoredPool, int, np.random.RandomState], np.ndarray]
"""From a pool and a number of rows, no more than the pool has, to their indices, the most wanted first."""

Choose = Callable[[np.ndarray, int, np.random.RandomState], np.ndarray]
"""The same from the rows of the pool that are left; the indices are among these."""

ROWS_A_DRAWN_ONE = 10
"""Of so many rows that are asked for one is drawn at random."""


def by_margin(pool: ScoredPool, num_rows: int, draws: np.random.RandomState) -> np.ndarray:
    """The rows with the least margins."""
    return np.argsort(-pool.unsure_N, kind="stable")[:num_rows]


def by_diversity(pool: ScoredPool, num_rows: int, draws: np.random.RandomState) -> np.ndarray:
    """From each of as many regions of the pooled vectors' space the row with the least margin."""
    ones_N1 = np.ones((len(pool.pooled_ND), 1), dtype=pool.pooled_ND.dtype)
    centres = kmeans_plus_plus(ones_N1, pool.pooled_ND, num_rows, draws)
    region_N = pairwise_distances_argmin(pool.pooled_ND, pool.pooled_ND[centres])
    by_doubt_N = by_margin(pool, len(region_N), draws)
    _, first = np.unique(region_N[by_doubt_N], return_index=True)
    chosen = by_doubt_N[np.sort(first)]
    rest = by_doubt_N[~np.isin(by_doubt_N, chosen)]  # equal vectors leave regions empty
    return np.concatenate([chosen, rest])[:num_rows]


def by_gradient(pool: ScoredPool, num_rows: int, draws: np.random.RandomState) -> np.ndarray:
    """BADGE: rows whose gradients, were the likeliest label the right one, are large and point in many directions.

    A row's gradient is (p − ŷ) ⊗ h, C · D numbers that are never built. With an `mlp` head h is what goes into its
    first layer, so that there it stands for the gradient of the last.
    """
    p_NC = pool.probabilities_NC
    said_NC = p_NC >= 0.5 if pool.multi_label else np.eye(p_NC.shape[1])[p_NC.argmax(axis=1)]
    return kmeans_plus_plus((p_NC - said_NC).astype(pool.pooled_ND.dtype), pool.pooled_ND, num_rows, draws)


STRATEGIES: dict[str, Strategy] = {"margin": by_margin, "diverse": by_diversity, "badge": by_gradient}
"""The strategies by name, besides `random`."""

RANDOM = "random"
"""The strategy that all others are to be better than."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked for.

    Args:
        num_rows: How many rows.
        strategy: `random` or a key of `STRATEGIES`; for rationales `random` or `margin`.
        exclude: Files of rows that are known already, by id or text.
        seed: Of all that is drawn.
        task: Of several tasks the one whose label, or whose rationale, is asked for; None: the only one.

    Raises:
        ConfigError: There is no such strategy, or the number of rows is none.
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
    """Rows of a pool, in an order in which any first part is drawn and chosen in about the same shares.

    Args:
        rows: Their indices.
        is_random: Which of them were drawn at random of the whole pool.
        inclusion_probability: Of each row of the pool to be among these.
    """

    rows: list[int]
    is_random: list[bool]
    inclusion_probability: float


def draw_rows(num_pool: int, num_rows: int, choose: Choose | None, *, seed: int) -> Drawn:
    """Draw a tenth of the rows at random, then choose the others of what is left.

    Args:
        num_pool: Rows of the pool.
        num_rows: Rows wanted, no more than that.
        choose: From the rows that are left and a number to so many of their places; None: all rows are drawn.
        seed: Of all that is drawn.
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
        left_NK: The one factor; ones for k-means++ over the other alone.
        right_ND: The other.
        num_centres: No more than N.
        draws: The first centre is drawn evenly, each further one with its squared distance to the nearest so far.

    Returns:
        Their indices in the order of drawing; once all that is left is equal to a centre, any rows.
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
