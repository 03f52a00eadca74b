"""The paired bootstrap: how the difference of two models varies with the rows, and with the seeds.

Shape legend: B rows, K kinds of cluster, M features, S seeds, R resamples; 2 is the baseline and the other model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from dhrd.data.superglue import Task
from dhrd.metrics.intervals import Interval
from dhrd.metrics.outcomes import Outcomes
from dhrd.metrics.scores import clusters, score, strata

_CELLS_AT_ONCE = 2**20  # weights or sums held at once, of 8 bytes: 8 MiB, a few times over
ROUNDING = 1e-12
"""A difference that is nearer to none than this is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Two models on the same rows, at one or more seeds.

    Clusters alike in stratum and features are one kind: a resample is a multinomial draw of kinds, which costs less.

    Args:
        kinds_KF: Each kind's features, F = S * 2 * M.
        counts_K: How many clusters are of the kind.
        stratum_K: Its stratum.
        num_seeds: S.
        value: From sums of features, (..., M), to the metric, (...).
    """

    kinds_KF: np.ndarray
    counts_K: np.ndarray
    stratum_K: np.ndarray
    num_seeds: int
    value: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def of(cls, pairs: Sequence[tuple[Outcomes, Outcomes]], metric: str, task: Task | None) -> Study:
        """From one (baseline, other) a seed, all over the same rows in the same order.

        Raises:
            ConfigError: The metric is unknown.
            DataError: The rows are not the task's.
        """
        found, rows = score(metric, task), pairs[0][0]
        features_BF = np.concatenate([found.features(one) for both in pairs for one in both], axis=1)
        cluster_B, stratum_B = clusters(rows, task), strata(rows, metric)
        _, first_of_G, cluster_B = np.unique(cluster_B, return_index=True, return_inverse=True)
        stratum_G = stratum_B[first_of_G]
        if (stratum_G[cluster_B] != stratum_B).any():
            stratum_G = np.zeros_like(stratum_G)  # a cluster of several classes is in none of their strata
        sums_GF = np.zeros((len(first_of_G), features_BF.shape[1]))
        np.add.at(sums_GF, cluster_B, features_BF)
        kinds, counts_K = np.unique(np.column_stack([stratum_G, sums_GF]), axis=0, return_counts=True)
        return cls(
            kinds_KF=np.ascontiguousarray(kinds[:, 1:]),
            counts_K=counts_K,
            stratum_K=kinds[:, 0].astype(np.int64),
            num_seeds=len(pairs),
            value=found.value,
        )

    def observed(self) -> np.ndarray:
        """The difference at each seed, other minus baseline, (S,)."""
        return self._differences(self.counts_K[None].astype(np.float64))[0]

    def resampled(self, num_resamples: int, rng: np.random.Generator) -> np.ndarray:
        """The differences in resamples of the clusters, drawn within strata, alike for all seeds and models, (R, S)."""
        return np.concatenate([self._differences(weights_RK) for weights_RK in self._resamples(num_resamples, rng)])

    def baselines(self, num_resamples: int, rng: np.random.Generator) -> np.ndarray:
        """The baseline's own metric in such resamples, (R, S)."""
        resamples = self._resamples(num_resamples, rng)
        return np.concatenate([self._metrics(weights_RK)[..., 0] for weights_RK in resamples])

    def _resamples(self, num_resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        at_once = max(1, _CELLS_AT_ONCE // max(self.kinds_KF.shape))
        for start in range(0, num_resamples, at_once):
            yield self._weights(min(at_once, num_resamples - start), rng)

    def _weights(self, size: int, rng: np.random.Generator) -> np.ndarray:
        weights_RK = np.empty((size, len(self.counts_K)))  # floats are multiplied by BLAS, integers are not
        for stratum in np.unique(self.stratum_K):
            within = np.flatnonzero(self.stratum_K == stratum)
            counts = self.counts_K[within]
            weights_RK[:, within] = rng.multinomial(counts.sum(), counts / counts.sum(), size=size)
        return weights_RK

    def _differences(self, weights_RK: np.ndarray) -> np.ndarray:
        return np.diff(self._metrics(weights_RK), axis=-1)[..., 0]

    def _metrics(self, weights_RK: np.ndarray) -> np.ndarray:
        """The metric of both models at each seed, (R, S, 2)."""
        return self.value((weights_RK @ self.kinds_KF).reshape(len(weights_RK), self.num_seeds, 2, -1))


def rows_and_seeds(
    resampled: Sequence[np.ndarray], observed: Sequence[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """The bootstrap distribution, over rows and seeds together, of the mean over tasks of the mean difference.

    In a task with the difference d_s at seed s of S, and D their mean, a resample draws rows, the same for all seeds,
    and seeds, independently, and deviates from D by

        (D* - D) + c * (D' - D)

    D* is the mean over seeds of the differences on the drawn rows, D' the mean of d_s over the drawn seeds. Three
    things would make the plain bootstrap's coverage wrong, and each is put right:

    - A mean of S resampled seeds varies (S - 1) / S times as much as a mean of S seeds: c has sqrt(S / (S - 1)).
    - D* varies already with what rows and seeds have between them (each seed errs on rows of its own), and so do the
      d_s. With v the seeds' variance, var(d_s) / S, and u that part, the mean over resamples of var_s(d_s* - d_s) / S,
      only v - u is added: c has sqrt(max(0, v - u) / v).
    - v is known from S seeds only: the deviation of each rank is stretched by the ratio of Student's to the normal
      quantile at that rank, with Satterthwaite's degrees of freedom,

          df = V^2 / sum over tasks of v^2 / (S - 1),    V = sum over tasks of var(D*) + max(0, v - u)

      (all variances over the number of tasks squared), where tasks with v <= u add nothing to the denominator.

    Args:
        resampled: For each task `Study.resampled`, (R, S), S at least 2; independent of the other tasks'.
        observed: For each task `Study.observed`, (S,).
        rng: Draws the seeds.

    Returns:
        R values around the observed mean; their percentiles are the interval.
    """
    num_tasks = len(resampled)
    deviation_R = np.zeros(len(resampled[0]))
    variance, uncertainty = 0.0, 0.0
    for differences_RS, observed_S in zip(resampled, observed, strict=True):
        num_seeds, mean = len(observed_S), observed_S.mean()
        by_rows_R = differences_RS.mean(axis=1) - mean
        v = observed_S.var(ddof=1) / num_seeds
        u = (differences_RS - observed_S).var(axis=1, ddof=1).mean() / num_seeds
        deviation_R += by_rows_R / num_tasks
        variance += by_rows_R.var() / num_tasks**2
        if v > u:
            drawn_RS = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=len(deviation_R))
            scale = np.sqrt(num_seeds / (num_seeds - 1) * (v - u) / v)
            deviation_R += scale * (drawn_RS @ (observed_S - mean)) / num_seeds / num_tasks
            variance += (v - u) / num_tasks**2
            uncertainty += (v / num_tasks**2) ** 2 / (num_seeds - 1)
    if uncertainty:
        deviation_R = _stretched(deviation_R, variance**2 / uncertainty)
    return np.mean([observed_S.mean() for observed_S in observed]) + deviation_R


def _stretched(deviation_R: np.ndarray, df: float) -> np.ndarray:
    """Sorted, each stretched as Student's distribution is beside the normal one at its rank."""
    rank_R = (np.arange(len(deviation_R)) + 0.5) / len(deviation_R)
    normal_R, student_R = stats.norm.ppf(rank_R), stats.t.ppf(rank_R, df)
    ratio_R = np.divide(student_R, normal_R, out=np.ones_like(normal_R), where=np.abs(normal_R) > ROUNDING)
    return np.sort(deviation_R) * ratio_R


def percentiles(values_R: np.ndarray) -> Interval | None:
    """The 95 % percentile interval; None where the values are all one, as no data vary so little."""
    low, high = np.quantile(values_R, [0.025, 0.975])
    # An end at none must not seem beside it: verdicts go by its sign
    low, high = (0.0 if abs(end) <= ROUNDING else float(end) for end in (low, high))
    return (low, high) if high - low > ROUNDING else None


def p_value(values_R: np.ndarray) -> float:
    """Twice the share of resamples on the rarer side of none, which is on both; the observed data count as one of them.

    So it is never less than 2 / (R + 1) (Davison and Hinkley, 1997, section 4.4, for the added one).
    """
    rarer = min((values_R <= ROUNDING).sum(), (values_R >= -ROUNDING).sum())
    return min(1.0, float(2 * (rarer + 1) / (len(values_R) + 1)))
