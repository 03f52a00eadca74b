"""Confidence intervals: Wilson's for shares, a bootstrap for everything else.

Shape legend: B rows, G clusters, K kinds of cluster, M features, F features of all models, R resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from statsmodels.stats.proportion import proportion_confint

from dhrd.data.superglue import Task
from dhrd.data.superglue.score import Score, share, with_ones
from dhrd.metrics.outcomes import Outcomes
from dhrd.metrics.scores import clusters, strata

Interval = tuple[float, float]

ROUNDING = 1e-12
"""A difference that is nearer to none than this is none."""

_CELLS_AT_ONCE = 2**20  # weights or sums of 8 bytes held at once: a few times 8 MiB


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a proportion (Wilson, 1927).

    Args:
        successes: Number of successful trials.
        n: Number of independent trials, at least one.
        confidence: Nominal coverage, between 0 and 1.

    Returns:
        The lower and the upper end, within [0, 1].

    Example:
        >>> low, high = wilson(8, 10)
        >>> round(low, 3), round(high, 3)
        (0.49, 0.943)
    """
    assert 0 <= successes <= n and n > 0, f"{successes} of {n}"
    low, high = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    # At 0 and n successes the ends are 0 and 1 except for rounding
    return max(0.0, float(low)) if successes else 0.0, min(1.0, float(high)) if successes < n else 1.0


def bootstrap(
    outcomes: Outcomes, score: Score, task: Task | None = None, *, num_resamples: int = 2000, seed: int = 0
) -> Interval | None:
    """The 95 % percentile bootstrap of one model's metric.

    None if no stratum has two kinds of row (perfect predictions): there is then no variation to resample.
    Wilson's interval of the accuracy does not have this limit.

    Args:
        outcomes: At least one row.
        score: The metric.
        task: The SuperGLUE task, for its groups if the outcomes name none.
        num_resamples: R.
        seed: Seed of the bootstrap.
    """
    resampling = Resampling.of([outcomes], score, task, shape=())
    return percentiles(resampling.resampled(num_resamples, np.random.default_rng(seed)))


def accuracy_interval(
    outcomes: Outcomes, task: Task | None = None, *, num_resamples: int = 2000, seed: int = 0
) -> Interval:
    """The 95 % interval of the accuracy: Wilson's for rows without groups, else `grouped_interval`."""
    hits_B = outcomes.hits_B
    interval = grouped_interval(hits_B, outcomes, task, num_resamples=num_resamples, seed=seed)
    return interval or wilson(int(hits_B.sum()), len(hits_B))


def grouped_interval(
    hits_B: np.ndarray, outcomes: Outcomes, task: Task | None = None, *, num_resamples: int = 2000, seed: int = 0
) -> Interval | None:
    """The 95 % interval of a share of rows by a bootstrap over their groups; None if no group has several of them.

    Groups that do not differ leave nothing to resample: the interval is then Wilson's with one trial per group.

    Args:
        hits_B: Which rows count.
        outcomes: The rows.
        task: The SuperGLUE task, for its groups if the outcomes name none.
        num_resamples: Number of resamples.
        seed: Seed of the bootstrap.
    """
    num_clusters = len(np.unique(clusters(outcomes, task)))
    if num_clusters == len(hits_B):
        return None
    hits = Score("hits", lambda _: with_ones(hits_B), share)
    interval = bootstrap(outcomes, hits, task, num_resamples=num_resamples, seed=seed)
    return interval or wilson(round(float(hits_B.mean()) * num_clusters), num_clusters)


def percentile_interval(values_R: np.ndarray, tail: float = 0.025) -> Interval:
    """The central interval of a metric's resamples, (R,), with a share of `tail` below it and above it."""
    low, high = np.quantile(values_R, [tail, 1 - tail])
    return float(low), float(high)


def percentiles(values_R: np.ndarray) -> Interval | None:
    """The 95 % percentile interval; None if all values are equal, as such data show no variation."""
    # An end at zero must not appear off zero: verdicts depend on its sign
    low, high = (0.0 if abs(end) <= ROUNDING else end for end in percentile_interval(values_R))
    return (low, high) if high - low > ROUNDING else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """A metric of one or more models on the same rows, under resampling of the rows.

    Clusters with equal stratum and features are one kind. Drawing a stratum's n clusters n times with replacement and
    counting the kinds drawn is a multinomial draw with the observed shares: exactly the bootstrap over clusters, at the
    cost of one draw per kind.

    Args:
        kinds_KF: Each kind's features, concatenated over models.
        counts_K: Number of clusters of each kind.
        strata: The kinds of each stratum, in ascending order.
        grouped: Whether any cluster has several rows.
        shape: Shape of the array of models; F is its product times M.
        value: Maps sums of features, (..., M), to the metric, (...).
    """

    kinds_KF: sparse.csr_array
    counts_K: np.ndarray
    strata: list[np.ndarray]
    grouped: bool
    shape: tuple[int, ...]
    value: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def of(cls, models: Sequence[Outcomes], score: Score, task: Task | None, shape: tuple[int, ...]) -> Resampling:
        """Create one from the models' outcomes, in C order of `shape`, all over the same rows in the same order.

        Raises:
            DataError: The rows are not the task's.
        """
        rows = next((model for model in models if model.group_B is not None), models[0])  # older files have no groups
        features_BF = sparse.hstack([sparse.csr_array(score.features(model)) for model in models], format="csr")
        cluster_B, stratum_B = clusters(rows, task), strata(rows, score)
        _, first_of_G, cluster_B = np.unique(cluster_B, return_index=True, return_inverse=True)
        stratum_G = stratum_B[first_of_G]
        if (stratum_G[cluster_B] != stratum_B).any():
            stratum_G = np.zeros_like(stratum_G)  # a cluster with several classes is in none of their strata
        within_GB = sparse.csr_array((np.ones(len(cluster_B)), (cluster_B, np.arange(len(cluster_B)))))
        kinds_KF, counts_K, stratum_K = _kinds(within_GB @ features_BF, stratum_G)
        return cls(
            kinds_KF=kinds_KF,
            counts_K=counts_K,
            strata=[np.flatnonzero(stratum_K == stratum) for stratum in np.unique(stratum_K)],
            grouped=len(first_of_G) < len(cluster_B),
            shape=shape,
            value=score.value,
        )

    @property
    def unit(self) -> str:
        """What is resampled, in words."""
        return "whole groups of rows" if self.grouped else "rows"

    def observed(self) -> np.ndarray:
        """The metric of each model, (*shape)."""
        return self._metrics(self.counts_K[None].astype(np.float64))[0]

    def resampled(self, num_resamples: int, rng: np.random.Generator) -> np.ndarray:
        """The metric in resamples of the clusters, drawn within strata, the same for all models, (R, *shape)."""
        at_once = max(1, _CELLS_AT_ONCE // max(self.kinds_KF.shape))
        sizes = [min(at_once, num_resamples - start) for start in range(0, num_resamples, at_once)]
        return np.concatenate([self._metrics(self._weights(size, rng)) for size in sizes])

    def _weights(self, size: int, rng: np.random.Generator) -> np.ndarray:
        weights_RK = np.empty((size, len(self.counts_K)))
        for within in self.strata:
            counts = self.counts_K[within]
            weights_RK[:, within] = rng.multinomial(counts.sum(), counts / counts.sum(), size=size)
        return weights_RK

    def _metrics(self, weights_RK: np.ndarray) -> np.ndarray:
        sums_RF = np.ascontiguousarray(weights_RK @ self.kinds_KF)
        return self.value(sums_RF.reshape(len(weights_RK), *self.shape, -1))


def _kinds(sums_GF: sparse.csr_array, stratum_G: np.ndarray) -> tuple[sparse.csr_array, np.ndarray, np.ndarray]:
    """The kinds of clusters, sorted by stratum, then by feature columns, with the count and stratum of each."""
    sums_GF.eliminate_zeros()
    sums_GF.sort_indices()
    columns, values = (-sums_GF.indices).tolist(), sums_GF.data.tolist()  # a value in an earlier column sorts higher
    ends = zip(sums_GF.indptr, sums_GF.indptr[1:], strict=False)
    keys = [
        (stratum, *zip(columns[start:end], values[start:end], strict=True))
        for stratum, (start, end) in zip(stratum_G.tolist(), ends, strict=True)
    ]
    counts, cluster_of = Counter(keys), dict(zip(keys, range(len(keys)), strict=True))
    kinds = sorted(counts)
    return (
        sums_GF[[cluster_of[kind] for kind in kinds]],
        np.array([counts[kind] for kind in kinds]),
        np.array([kind[0] for kind in kinds]),
    )
