"""Metrics as functions of weighted sums over rows, so that one bootstrap serves all of them.

Each row has features, a resample gives each row a weight, and the metric of the resample is a function of the weighted
sums of the features alone. Accuracy: hits and rows. F1: hits, predicted and gold by class.

Shape legend: B rows, C classes, M features; `...` is any number of resamples, seeds and models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dhrd.data.superglue import Task
from dhrd.errors import ConfigError, DataError
from dhrd.metrics.f1 import f1
from dhrd.metrics.metrics import paragraphs_and_questions
from dhrd.metrics.outcomes import Outcomes


@dataclass(frozen=True, slots=True)
class Score:
    """A metric.

    Args:
        name: As in `compute_metrics`.
        features: From outcomes to what is summed of each row, (B, M).
        value: From weighted sums of the features, (..., M), to the metric, (...).
    """

    name: str
    features: Callable[[Outcomes], np.ndarray]
    value: Callable[[np.ndarray], np.ndarray]

    def of(self, outcomes: Outcomes) -> float:
        """The metric of all rows, each once."""
        return float(self.value(self.features(outcomes).sum(axis=0)))


def score(name: str, task: Task | None = None) -> Score:
    """A metric by its name: accuracy, macro_f1, weighted_f1, micro_f1; with MultiRC f1a and em.

    Args:
        name: Its value is that of `compute_metrics`.
        task: Adds its official metrics.

    Raises:
        ConfigError: There is no such metric, or it is not one of this task.
    """
    of_rows = {
        "accuracy": Score("accuracy", _hits, _share),
        "macro_f1": Score("macro_f1", _counts, _macro_f1),
        "weighted_f1": Score("weighted_f1", _counts, _weighted_f1),
        "micro_f1": Score("micro_f1", _counts, _micro_f1),
    }
    of_answers = {"f1a": Score("f1a", _right_answers, _answers_f1), "em": Score("em", _exact_questions, _share)}
    known = of_rows | (of_answers if _has_paragraphs(task) else {})
    if name not in known:
        hint = "; f1a and em need the task multirc" if name in of_answers else ""
        raise ConfigError(f"metric: {name!r} cannot be compared; give one of {', '.join(known)}{hint}")
    return known[name]


def clusters(outcomes: Outcomes, task: Task | None = None) -> np.ndarray:
    """What is resampled as a whole: MultiRC's paragraphs, whose answers stand or fall together, else each row.

    Returns:
        The cluster's number of each row, (B,), from 0.

    Raises:
        DataError: MultiRC's ids or labels are not those that superglue:multirc gives.
    """
    if task is None or not _has_paragraphs(task):
        return np.arange(len(outcomes.ids))
    if outcomes.labels.names != task.labels:
        raise DataError(
            f"{task.name} has the labels {', '.join(task.labels)}; the predictions have "
            f"{', '.join(outcomes.labels.names)}: compare models trained on {task.name}"
        )
    return paragraphs_and_questions(outcomes.ids)[0]


def strata(outcomes: Outcomes, name: str) -> np.ndarray:
    """Within what rows are resampled: for F1 over classes their gold class, as in `compute_metrics`, else all rows.

    Returns:
        The stratum's number of each row, (B,).
    """
    if name in ("macro_f1", "weighted_f1") and not outcomes.labels.multi_label:
        return outcomes.gold_BC.argmax(axis=1)
    return np.zeros(len(outcomes.ids), dtype=np.int64)


def _has_paragraphs(task: Task | None) -> bool:
    return task is not None and "f1a" in task.metrics


def _hits(outcomes: Outcomes) -> np.ndarray:
    return _with_ones(outcomes.hits_B)


def _exact_questions(outcomes: Outcomes) -> np.ndarray:
    """On each question's first row whether all its answers are judged rightly, so that a question counts once."""
    _, first_of_Q, question_B = np.unique(
        paragraphs_and_questions(outcomes.ids)[1], return_index=True, return_inverse=True
    )
    wrong_Q = np.bincount(question_B, weights=~outcomes.hits_B)
    features_B2 = np.zeros((len(question_B), 2))
    features_B2[first_of_Q] = _with_ones(wrong_Q == 0)
    return features_B2


def _with_ones(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones_like(values)], axis=1).astype(np.float64)


def _share(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def _counts(outcomes: Outcomes) -> np.ndarray:
    """Hits, predicted and gold of each class, (B, 3C)."""
    gold_BC, predicted_BC = outcomes.gold_BC, outcomes.predicted_BC
    return np.concatenate([gold_BC * predicted_BC, predicted_BC, gold_BC], axis=1).astype(np.float64)


def _right_answers(outcomes: Outcomes) -> np.ndarray:
    """The same of MultiRC's second class, the right answers, (B, 3)."""
    return _counts(outcomes)[:, 1::2]


def _answers_f1(sums: np.ndarray) -> np.ndarray:
    return f1(sums[..., 0], sums[..., 1], sums[..., 2])


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    return f1(*np.split(sums, 3, axis=-1)).mean(axis=-1)


def _weighted_f1(sums: np.ndarray) -> np.ndarray:
    hits, predicted, gold = np.split(sums, 3, axis=-1)
    return (f1(hits, predicted, gold) * gold).sum(axis=-1) / np.maximum(gold.sum(axis=-1), 1)


def _micro_f1(sums: np.ndarray) -> np.ndarray:
    return f1(*(part.sum(axis=-1) for part in np.split(sums, 3, axis=-1)))
