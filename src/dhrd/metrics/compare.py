"""Is one model better than another? Differences with intervals, by rules that are fixed before the data are seen.

Shape legend: S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from dhrd.data.superglue import Task
from dhrd.errors import DataError
from dhrd.metrics.intervals import ROUNDING, Interval, Resampling, accuracy_interval, percentiles
from dhrd.metrics.outcomes import Outcomes, pair
from dhrd.metrics.paired import Pair, differences, p_value, resampling_of, rows_and_seeds
from dhrd.metrics.scores import score

NAMES = ("the baseline", "the other")
NUM_SEEDS_TO_RESAMPLE = 5
"""From so many seeds on they are resampled too: with fewer, a bootstrap over seeds covers too little."""


def compare(
    pairs: Sequence[Pair],
    *,
    metric: str,
    task: Task | None = None,
    num_resamples: int = 10_000,
    seed: int = 0,
    names: tuple[str, str] = NAMES,
) -> dict[str, Any]:
    """The difference of two models on the same rows, other minus baseline, averaged over seeds.

    - One seed: a bootstrap over rows, the same for both models.
    - Two to four: a t interval over the seeds' differences, and the paired t test. Both hold for these rows only.
    - Five or more: a bootstrap over rows and seeds together (`rows_and_seeds`).

    Rows are resampled within gold classes for F1 over classes, and in whole groups where they have groups (MultiRC's
    are its paragraphs).

    Args:
        pairs: One (baseline, other) per seed, all over the same rows, in any order.
        metric: accuracy, macro_f1, weighted_f1 or micro_f1; for MultiRC also f1a or em.
        task: The SuperGLUE task, for MultiRC's metrics and paragraphs.
        num_resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.
        names: The two as they stand in the verdict, with their articles if they want any.

    Returns:
        Shares, not points, ready for JSON: `metric`, `num_rows`, `num_groups` (null: rows have no groups), `num_seeds`,
        `difference`, `interval_95` (null if the data do not vary), `interval_method`, `rows_interval_95` (a bootstrap
        over rows with the seeds fixed), `p_value` (two-sided; null if a difference does not vary), `seed_differences`,
        `mcnemar` (for each seed, the rows that `only_baseline` and `only_other` have right, and the exact `p_value`,
        which treats rows as independent), `smallest_told` (half the interval's width: the smallest *observed*
        difference that would have been distinguished from zero; a true difference of that size is detected half of the
        time, one 1.43 times as large four times in five), `verdict`, a sentence.

    Raises:
        DataError: There are no rows, or the outcomes differ in rows, gold or labels.
        ConfigError: The metric is unknown.
    """
    aligned = _aligned(pairs)
    resampling, num_rows = resampling_of(aligned, metric, task), len(aligned[0][0].ids)
    estimate = _estimate([resampling], num_resamples, seed)
    return {
        "metric": metric,
        "num_rows": num_rows,
        "num_groups": int(resampling.counts_K.sum()) if resampling.grouped else None,
        **vars(estimate),
        "mcnemar": [mcnemar(*both) for both in aligned],
        "verdict": _verdict(estimate, f"n = {num_rows:,}", names),
    }


def primary(
    tasks: Mapping[str, tuple[Sequence[Pair], str, Task | None]],
    *,
    num_resamples: int = 10_000,
    seed: int = 0,
    names: tuple[str, str] = NAMES,
) -> dict[str, Any]:
    """The mean over tasks of the difference averaged over seeds: one figure for a whole study.

    The rules are those of `compare`; rows and seeds are resampled within each task, independently of the others. With
    two to four seeds the t interval is over each seed's mean over tasks.

    Args:
        tasks: Each task's pairs, metric and, for SuperGLUE, task.
        num_resamples: As for `compare`.
        seed: As for `compare`.
        names: As for `compare`.

    Returns:
        The keys of `compare` except `num_groups`, and `num_tasks`; `num_rows` is the sum over tasks, `num_seeds` the
        minimum over tasks, `seed_differences` are means over tasks (null if their numbers of seeds differ), `mcnemar`
        is empty.

    Raises:
        DataError: There are no tasks, one cannot be compared, or their numbers of seeds differ and one is below 5.
        ConfigError: A metric is unknown.
    """
    if not tasks:
        raise DataError("there are no tasks to compare; give at least one")
    aligned = {name: _aligned(pairs, f"{name}: ") for name, (pairs, _, _) in tasks.items()}
    num_seeds = {name: len(pairs) for name, pairs in aligned.items()}
    if len(set(num_seeds.values())) > 1 and min(num_seeds.values()) < NUM_SEEDS_TO_RESAMPLE:
        shown = ", ".join(f"{name} {count}" for name, count in num_seeds.items())
        raise DataError(f"the tasks differ in their numbers of seeds ({shown}); run the same for all, or at least 5")
    resamplings = [resampling_of(aligned[name], metric, task) for name, (_, metric, task) in tasks.items()]
    estimate = _estimate(resamplings, num_resamples, seed)
    num_rows = sum(len(pairs[0][0].ids) for pairs in aligned.values())
    where = f"n = {num_rows:,} rows of {len(tasks)} task{'s' if len(tasks) > 1 else ''}"
    return {
        "metric": "mean of " + ", ".join(f"{metric} ({name})" for name, (_, metric, _) in tasks.items()),
        "num_tasks": len(tasks),
        "num_rows": num_rows,
        **vars(estimate),
        "mcnemar": [],
        "verdict": _verdict(estimate, where, names),
    }


def average_over_seeds(
    outcomes: Sequence[Outcomes],
    *,
    metric: str,
    task: Task | None = None,
    num_resamples: int = 10_000,
) -> dict[str, Any]:
    """One model's metric, averaged over seeds, with an interval over rows with the seeds fixed.

    Args:
        outcomes: One per seed, all over the same rows.
        metric: As for `compare`.
        task: As for `compare`.
        num_resamples: As for `compare`.

    Returns:
        `mean`, `interval_95` (null if the data do not vary), `interval_method`: Wilson's for accuracy at one seed
        on rows without groups, else a bootstrap over rows or whole groups.

    Raises:
        DataError: There are no rows, or the outcomes differ in rows, gold or labels.
        ConfigError: The metric is unknown.
    """
    aligned = _aligned([(model, model) for model in outcomes])
    resampling = resampling_of(aligned, metric, task)
    values = [score(metric, task).of(model) for model, _ in aligned]
    by_bootstrap = f"percentiles of a bootstrap over {resampling.unit}"
    if len(values) == 1 and metric == "accuracy":
        interval: Interval | None = accuracy_interval(aligned[0][0], task, num_resamples=num_resamples)
        method = by_bootstrap if resampling.grouped else "Wilson's score interval"
    else:
        resampled_RS2 = resampling.resampled(num_resamples, np.random.default_rng(0))
        interval, method = percentiles(resampled_RS2[..., 0].mean(axis=1)), by_bootstrap
    return {
        "mean": float(np.mean(values)),
        "interval_95": list(interval) if interval else None,
        "interval_method": method,
    }


def mcnemar(baseline: Outcomes, other: Outcomes) -> dict[str, Any]:
    """McNemar's exact test (1947): among rows that only one model has right, are both models equally often that one?

    Args:
        baseline: Outcomes of the baseline, aligned with `other`.
        other: Outcomes of the other model, at the same seed.

    Returns:
        `only_baseline`, `only_other`: numbers of rows that only this model has right; `p_value`, binomial, two-sided.
    """
    ours_B, theirs_B = baseline.hits_B, other.hits_B
    only_baseline, only_other = int((ours_B & ~theirs_B).sum()), int((theirs_B & ~ours_B).sum())
    differing = only_baseline + only_other
    p = float(stats.binomtest(only_other, differing).pvalue) if differing else 1.0
    return {"only_baseline": only_baseline, "only_other": only_other, "p_value": p}


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """P-values of several tasks, adjusted for multiple testing (Holm, 1979).

    Args:
        p_values: Each task's p-value, or None if it has none; such a task does not count as a test.

    Example:
        >>> holm({"cb": 0.02, "rte": 0.03, "copa": None})
        {'cb': 0.04, 'rte': 0.04, 'copa': None}
    """
    known = {name: p for name, p in p_values.items() if p is not None}
    adjusted = multipletests(list(known.values()), method="holm")[1] if known else []
    return {**p_values, **{name: float(p) for name, p in zip(known, adjusted, strict=True)}}


@dataclass(frozen=True, kw_only=True)
class _Estimate:
    """The keys of `compare` that come from the bootstrap and the t test."""

    num_seeds: int
    difference: float
    interval_95: list[float] | None
    interval_method: str
    rows_interval_95: list[float] | None
    p_value: float | None
    seed_differences: list[float] | None
    smallest_told: float | None


def _aligned(pairs: Sequence[Pair], prefix: str = "") -> list[Pair]:
    """All outcomes, with rows in the order of the first."""
    if not pairs:
        raise DataError(f"{prefix}there is nothing to compare; give a baseline's and another model's outcomes")
    first = pairs[0][0]
    name = prefix + "the {} (pair {})"
    reference = name.format("baseline", 1)
    return [
        (
            pair(first, baseline, (reference, name.format("baseline", number)))[1],
            pair(first, other, (reference, name.format("other", number)))[1],
        )
        for number, (baseline, other) in enumerate(pairs, 1)
    ]


def _estimate(tasks: Sequence[Resampling], num_resamples: int, seed: int) -> _Estimate:
    """The mean over tasks, using the rule for their number of seeds."""
    rngs = [np.random.default_rng([seed, index]) for index in range(len(tasks) + 1)]
    observed = [differences(task.observed()) for task in tasks]
    resampled = [differences(task.resampled(num_resamples, rng)) for task, rng in zip(tasks, rngs, strict=False)]
    by_rows_R = np.mean([differences_RS.mean(axis=1) for differences_RS in resampled], axis=0)
    num_seeds = min(map(len, observed))
    means_S = np.mean(observed, axis=0) if all(len(observed_S) == num_seeds for observed_S in observed) else None
    rows_interval, p = percentiles(by_rows_R), p_value(by_rows_R)
    unit = next((task.unit for task in tasks if task.grouped), tasks[0].unit)
    interval, what = rows_interval, f"percentiles of a bootstrap over {unit}"
    how = f"({num_resamples:,} resamples)"
    if num_seeds >= NUM_SEEDS_TO_RESAMPLE:
        values_R = rows_and_seeds(resampled, observed, rngs[-1])
        interval, p, what = percentiles(values_R), p_value(values_R), f"{what} and seeds together"
        how += ", corrected for the number of seeds"
    elif num_seeds == 1:
        how += "; one seed, so nothing is said of other seeds"
    elif means_S is not None and np.ptp(means_S) > ROUNDING:
        interval, p = _t_test(means_S)
        what, how = f"t interval over the differences of {num_seeds} seeds,", "on these rows"
    else:
        how += f": all {num_seeds} seeds have the same difference, so a t interval cannot be given"
    difference = float(np.mean([observed_S.mean() for observed_S in observed]))
    return _Estimate(
        num_seeds=num_seeds,
        difference=difference,
        interval_95=list(interval) if interval else None,
        interval_method=f"{what} {how}",
        rows_interval_95=list(rows_interval) if rows_interval else None,
        p_value=p if interval or abs(difference) <= ROUNDING else None,
        seed_differences=None if means_S is None else means_S.tolist(),
        smallest_told=(interval[1] - interval[0]) / 2 if interval else None,
    )


def _t_test(differences_S: np.ndarray) -> tuple[Interval, float]:
    """The paired t test on differences: its interval and two-sided p-value."""
    test = stats.ttest_1samp(differences_S, 0.0)
    low, high = test.confidence_interval(0.95)
    return (float(low), float(high)), float(test.pvalue)


def _verdict(estimate: _Estimate, where: str, names: tuple[str, str]) -> str:
    """One sentence, in points (100 times the difference)."""
    (baseline, other), num_seeds = names, estimate.num_seeds
    few = 1 < num_seeds < NUM_SEEDS_TO_RESAMPLE
    if estimate.interval_95 is None:
        if abs(estimate.difference) <= ROUNDING:
            return f"no difference can be told at {where}: the two score alike whichever rows are drawn"
        return (
            f"the difference is {100 * estimate.difference:.1f} points at {where}, but it is the same whichever rows "
            "are drawn, so no interval can be given"
        )
    low, high = estimate.interval_95
    if low <= 0 <= high:
        seeds = f" with {num_seeds} seeds" if few else ""
        told = _points((high - low) / 2)
        return f"no difference can be told at {where}{seeds}; an observed one of about {told} points would be"
    better = low > 0
    low, high = (low, high) if better else (-high, -low)
    scope = ", at one seed" if num_seeds == 1 else f", on these rows over {num_seeds} seeds" if few else ""
    if is_over_rows(num_seeds, estimate.interval_95, estimate.rows_interval_95):
        scope = f", over rows alone: all {num_seeds} seeds have the same difference"
    by = f"{100 * abs(estimate.difference):.1f} points"
    return (
        f"{other} is {'better' if better else 'worse'} than {baseline} by {by} "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f}){scope}"
    )


def is_over_rows(num_seeds: int, interval: Sequence[float] | None, rows_interval: Sequence[float] | None) -> bool:
    """Whether an interval of few seeds is the rows' for want of a t interval, as all seeds have the same difference."""
    return 1 < num_seeds < NUM_SEEDS_TO_RESAMPLE and interval is not None and interval == rows_interval


def _points(share: float) -> str:
    """A number of points, rounded to two digits."""
    points = 100 * share
    return f"{points:.0f}" if points >= 10 else f"{points:.2g}"
