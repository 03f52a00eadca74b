"""The paired bootstrap: how the difference of two models varies with the rows, and with the seeds.

Shape legend: S seeds, R resamples; 2 stands for the baseline and the other model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from dhrd.data.superglue import Task
from dhrd.metrics.intervals import ROUNDING, Resampling
from dhrd.metrics.outcomes import Outcomes
from dhrd.metrics.scores import score

Pair = tuple[Outcomes, Outcomes]
"""The baseline's outcomes and the other model's, at one seed."""


def resampling_of(pairs: Sequence[Pair], metric: str, task: Task | None) -> Resampling:
    """A metric of both models at each seed, (S, 2), all over the same rows in the same order.

    Raises:
        ConfigError: The metric is unknown.
        DataError: The rows are not the task's.
    """
    models = [model for both in pairs for model in both]
    return Resampling.of(models, score(metric, task), task, shape=(len(pairs), 2))


def differences(metrics_S2: np.ndarray) -> np.ndarray:
    """Other minus baseline, (..., S)."""
    return np.diff(metrics_S2, axis=-1)[..., 0]


def rows_and_seeds(
    resampled: Sequence[np.ndarray], observed: Sequence[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """The bootstrap distribution, over rows and seeds together, of the mean over tasks of the mean difference.

    In a task with the difference d_s at seed s of S, and D their mean, a resample draws rows, the same for all seeds,
    and seeds, independently, and deviates from D by

        (D* - D) + c * (D' - D)

    D* is the mean over seeds of the differences on the drawn rows, D' the mean of d_s over the drawn seeds. Three
    things would make the plain bootstrap's coverage wrong, and each is corrected:

    - A mean of S resampled seeds varies (S - 1) / S times as much as a mean of S seeds: c has sqrt(S / (S - 1)).
    - D* already varies with the interaction of rows and seeds (each seed errs on its own rows), and so do the
      d_s. With v the seeds' variance, var(d_s) / S, and u that part, the mean over resamples of var_s(d_s* - d_s) / S,
      only v - u is added: c has sqrt(max(0, v - u) / v).
    - v is known from S seeds only: the deviation of each rank is stretched by the ratio of Student's to the normal
      quantile at that rank, with Satterthwaite's degrees of freedom,

          df = V^2 / sum over tasks of v^2 / (S - 1),    V = sum over tasks of var(D*) + max(0, v - u)

      (all variances over the number of tasks squared), where tasks with v <= u add nothing to the denominator.

    Args:
        resampled: Differences in resamples for each task, (R, S), S at least 2; independent between tasks.
        observed: Observed differences for each task, (S,).
        rng: Generator used to draw the seeds.

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
    """Sorted deviations, each scaled by the ratio of Student's to the normal quantile at its rank."""
    rank_R = (np.arange(len(deviation_R)) + 0.5) / len(deviation_R)
    normal_R, student_R = stats.norm.ppf(rank_R), stats.t.ppf(rank_R, df)
    ratio_R = np.divide(student_R, normal_R, out=np.ones_like(normal_R), where=np.abs(normal_R) > ROUNDING)
    return np.sort(deviation_R) * ratio_R


def p_value(values_R: np.ndarray) -> float:
    """Twice the share of resamples on the rarer side of zero; zeros are on both sides, the observed data are one more.

    It is thus never less than 2 / (R + 1) (Davison and Hinkley, 1997, section 4.4, for the added one).
    """
    rarer = min((values_R <= ROUNDING).sum(), (values_R >= -ROUNDING).sum())
    return min(1.0, float(2 * (rarer + 1) / (len(values_R) + 1)))
