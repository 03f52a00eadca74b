"""How good answers are: the numbers of `evaluate`, with intervals, for single-label and multi-label tasks.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np

from dhrd.data.label_space import LabelSpace
from dhrd.data.records import LabelSet
from dhrd.data.superglue import Task
from dhrd.data.superglue.score import f1
from dhrd.errors import ConfigError, DataError
from dhrd.metrics.intervals import accuracy_interval, bootstrap
from dhrd.metrics.outcomes import Outcomes
from dhrd.metrics.scores import check_task_labels, class_counts, score

DENSE_LABELS = 1000
"""Up to so many labels the whole table of gold by predicted is given."""

_METRICS = ("accuracy", "macro_f1", "weighted_f1", "log_loss")
_LOWER_IS_BETTER = frozenset({"log_loss"})


def compute_metrics(
    outcomes: Outcomes,
    *,
    task: Task | None = None,
    intervals: bool = True,
    num_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Every number of an evaluation, ready for JSON.

    F1 averages are over all labels of the label set: one in neither gold nor predictions (`absent`) counts as
    0 in `macro_f1`, as does every 0/0 (scikit-learn's `f1_score(labels=range(C), zero_division=0)`). An answer that
    cannot be read is wrong, and counts as a prediction of no label. `log_loss` is in nats.

    Args:
        outcomes: At least one row.
        task: Adds its official metrics (MultiRC: `f1a` over all answers; `em`, the share of questions with every answer
            right) and names them under `official`.
        intervals: Whether to add `interval_95`: Wilson for accuracy, else bootstrap over rows, by gold class for macro
            and weighted F1, None if the data do not vary. If rows have groups (MultiRC's paragraphs), all are
            bootstraps over whole groups. Costly.
        num_resamples: Number of resamples of each bootstrap.
        seed: Seed of each bootstrap.

    Returns:
        `num_examples`, `accuracy`, `macro_f1`, `weighted_f1`, `log_loss` (where there are probabilities), `per_class`,
        `absent`, `confusion_matrix` (above 1,000 labels its nonzero cells, as `[gold, predicted, count]`; for written
        answers with a last column for unreadable ones, None among its `columns`), `official`.
        Multi-label: `accuracy` is the share of rows with every label right, `log_loss` the mean over rows and labels,
        `micro_f1` is added, `confusion_matrix` has [[tn, fp], [fn, tp]] by label. With several tasks, `tasks` has all
        of this for each task that some rows have labels of, over those rows, and the other numbers are task means.

    Raises:
        DataError: There are no rows, or they are not the task's.
    """
    if not outcomes.ids:
        raise DataError("there are no rows to evaluate; check the file and the split")
    if isinstance(outcomes.labels, LabelSpace):
        options: dict[str, Any] = {"intervals": intervals, "num_resamples": num_resamples, "seed": seed}
        return _of_tasks(outcomes, outcomes.labels, options)
    check_task_labels(outcomes, task)
    averages = [score(f"{name}_f1") for name in ("macro", "weighted", *(["micro"] * outcomes.labels.multi_label))]
    own = task.scores if task else ()
    official = list(task.metrics) if task else []
    metrics: dict[str, Any] = {
        "num_examples": len(outcomes.ids),
        "accuracy": score("accuracy").of(outcomes),
        **{average.name: average.of(outcomes) for average in averages},
        **({} if outcomes.probabilities_BC is None else {"log_loss": _log_loss(outcomes, outcomes.probabilities_BC)}),
        **{metric.name: metric.of(outcomes) for metric in own},
        "official": official,
    }
    if intervals:
        how: dict[str, Any] = {"num_resamples": num_resamples, "seed": seed}
        metrics["interval_95"] = {"accuracy": list(accuracy_interval(outcomes, task, **how))} | {
            metric.name: list(found) if (found := bootstrap(outcomes, metric, task, **how)) else None
            for metric in (*averages, *own)
        }
    metrics |= _by_class(outcomes)
    missing = [name for name in official if name not in metrics]
    assert not missing, f"{missing} are official but not computed"
    return metrics


def _of_tasks(outcomes: Outcomes, labels: LabelSpace, options: Mapping[str, Any]) -> dict[str, Any]:
    parts = {task.name: outcomes.of_task(task) for task in labels.tasks}
    tasks = {name: compute_metrics(part, **options) for name, part in parts.items() if part.ids}
    if not tasks:
        raise DataError("no row has a label of any task; check the file and the columns of the tasks")
    means = {name: fmean(metrics[name] for metrics in tasks.values()) for name in _METRICS}
    return {"num_examples": len(outcomes.ids), **means, "official": [], "tasks": tasks}


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """The plain numbers among the metrics, a task's as `task/name`: what is logged and monitored in training."""
    own = {name: float(value) for name, value in metrics.items() if isinstance(value, float)}
    tasks = metrics.get("tasks", {}).items()
    return own | {f"{task}/{name}": value for task, part in tasks for name, value in numbers(part).items()}


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of the metric is better."""
    return metric.rpartition("/")[2] not in _LOWER_IS_BETTER


def main_metric(task: Task | None) -> str:
    """The default metric of `best` and `patience`: the task's first official metric, else accuracy."""
    return task.metrics[0] if task else "accuracy"


def check_metric(name: str, task: Task | None, labels: LabelSet | None = None) -> None:
    """Refuse a metric that `compute_metrics` would not compute.

    Args:
        name: The metric's name; with several tasks also `task/metric`.
        task: The SuperGLUE task, if it is one.
        labels: The label set; None: one label per row.

    Raises:
        ConfigError: It is unknown, or not one of this task.
    """
    known = dict.fromkeys([*_METRICS, *(task.metrics if task else ())])
    for own in labels.slices if labels is not None else ():
        extra = [*(_METRICS if own.name else ()), *(["micro_f1"] * own.labels.multi_label)]
        known |= dict.fromkeys(f"{own.name}/{metric}".lstrip("/") for metric in extra)
    if name not in known:
        raise ConfigError(f"training.metric: {name!r} is not a metric of this task; give one of {', '.join(known)}")


def _log_loss(outcomes: Outcomes, probabilities_BC: np.ndarray) -> float:
    """Mean negative log-likelihood in nats; binary cross-entropy over rows and labels for multi-label."""
    gold_BC = outcomes.gold_BC.astype(np.float64)
    # Clipped as in scikit-learn, so that one confidently wrong row costs 36 nats and not infinity
    eps = np.finfo(np.float64).eps
    p_BC = probabilities_BC.astype(np.float64).clip(eps, 1 - eps)
    if outcomes.labels.multi_label:
        return float(-(gold_BC * np.log(p_BC) + (1 - gold_BC) * np.log(1 - p_BC)).mean())
    return float(-(gold_BC * np.log(p_BC)).sum(axis=1).mean())


def _by_class(outcomes: Outcomes) -> dict[str, Any]:
    """`per_class`, `absent`, `confusion_matrix`."""
    names = outcomes.labels.names
    hits_C, predicted_C, gold_C = np.split(class_counts(outcomes).sum(axis=0), 3)
    precision_C, recall_C = hits_C / np.maximum(predicted_C, 1), hits_C / np.maximum(gold_C, 1)
    columns = precision_C, recall_C, f1(hits_C, predicted_C, gold_C), gold_C
    per_class = {
        name: {"precision": float(precision), "recall": float(recall), "f1": float(f1_), "support": int(support)}
        for name, precision, recall, f1_, support in zip(names, *columns, strict=True)
    }
    absent = [name for name, num_seen in zip(names, predicted_C + gold_C, strict=True) if not num_seen]
    if outcomes.labels.multi_label:
        wrong_C, missed_C = predicted_C - hits_C, gold_C - hits_C
        cells_C4 = np.stack([len(outcomes.ids) - hits_C - wrong_C - missed_C, wrong_C, missed_C, hits_C], axis=1)
        tables = cells_C4.astype(np.int64).reshape(-1, 2, 2).tolist()
        confusion = dict(zip(names, tables, strict=True))
    else:
        confusion = _confusion(outcomes)
    return {"per_class": per_class, "absent": absent, "confusion_matrix": confusion}


def _confusion(outcomes: Outcomes) -> dict[str, Any]:
    """The confusion matrix for one label per row: rows are gold, columns predicted."""
    names, in_words = list(outcomes.labels.names), outcomes.probabilities_BC is None
    pairs_N2 = np.stack([outcomes.gold_B, outcomes.predicted_B], axis=1)
    cells_N2, counts_N = np.unique(pairs_N2, axis=0, return_counts=True)
    table = {"labels": names, **({"columns": [*names, None]} if in_words else {})}
    if len(names) > DENSE_LABELS:
        return {**table, "cells": np.concatenate([cells_N2, counts_N[:, None]], axis=1).tolist()}
    counts_CC = np.zeros((len(names), len(names) + in_words), dtype=np.int64)
    counts_CC[tuple(cells_N2.T)] = counts_N
    return {**table, "counts": counts_CC.tolist()}
