"""The metrics by name, and how rows are resampled for each: general ones, and those specific to a task.

Shape legend: B rows, C classes, M features; `...` is any number of resamples, seeds and models.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from dhrd.data.superglue import TASKS, Task
from dhrd.data.superglue.score import Answered, Score, f1, share, with_ones
from dhrd.errors import ConfigError, DataError
from dhrd.metrics.outcomes import Outcomes


def class_counts(answered: Answered) -> sparse.csr_array:
    """Hits, predicted and gold of each class, (B, 3C)."""
    gold_BC, predicted_BC = sparse.csr_array(answered.gold_BC), sparse.csr_array(answered.predicted_BC)
    return sparse.hstack([gold_BC * predicted_BC, predicted_BC, gold_BC], format="csr", dtype=np.float64)


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    return f1(*np.split(sums, 3, axis=-1)).mean(axis=-1)


def _weighted_f1(sums: np.ndarray) -> np.ndarray:
    hits, predicted, gold = np.split(sums, 3, axis=-1)
    return (f1(hits, predicted, gold) * gold).sum(axis=-1) / np.maximum(gold.sum(axis=-1), 1)


def _micro_f1(sums: np.ndarray) -> np.ndarray:
    return f1(*(part.sum(axis=-1) for part in np.split(sums, 3, axis=-1)))


_SCORES = {
    score.name: score
    for score in (
        Score("accuracy", lambda answered: with_ones(answered.hits_B), share),
        Score("macro_f1", class_counts, _macro_f1, within_classes=True),
        Score("weighted_f1", class_counts, _weighted_f1, within_classes=True),
        Score("micro_f1", class_counts, _micro_f1),
    )
}


def score(name: str, task: Task | None = None) -> Score:
    """A metric of `compute_metrics` by its name: accuracy, macro_f1, weighted_f1, micro_f1, and the task's own.

    Raises:
        ConfigError: There is no such metric, or it is not one of this task.
    """
    known = _SCORES | {own.name: own for own in (task.scores if task else ())}
    if name not in known:
        raise ConfigError(f"metric: {name!r} cannot be compared; give one of {', '.join(known)}{_hint(name)}")
    return known[name]


def _hint(name: str) -> str:
    for task in TASKS.values():
        if name in (names := [own.name for own in task.scores]):
            return f"; {' and '.join(names)} {'need' if len(names) > 1 else 'needs'} the task {task.name}"
    return ""


def check_task_labels(outcomes: Outcomes, task: Task | None) -> None:
    """Refuse answers that a task's own metrics cannot be computed from.

    Raises:
        DataError: Their labels are not the task's.
    """
    if task is not None and task.scores and outcomes.labels.names != task.labels:
        raise DataError(
            f"{task.name} has the labels {', '.join(task.labels)}; the predictions have "
            f"{', '.join(outcomes.labels.names)}: evaluate and compare models trained on {task.name}"
        )


def clusters(outcomes: Outcomes, task: Task | None = None) -> np.ndarray:
    """What is resampled as a whole: the rows of a group (in MultiRC, a paragraph), or a single row without one.

    Returns:
        Each row's cluster number, (B,), from 0.

    Raises:
        DataError: The ids or labels are not those that superglue:TASK gives.
    """
    check_task_labels(outcomes, task)
    group_B = outcomes.group_B
    if group_B is None and task is not None and task.group_of is not None:
        group_B = list(map(task.group_of, outcomes.ids))
    if group_B is None:
        return np.arange(len(outcomes.ids))
    number: dict[str | int, int] = {}
    return np.array(
        [number.setdefault(row if group is None else group, len(number)) for row, group in enumerate(group_B)]
    )


def strata(outcomes: Outcomes, score: Score) -> np.ndarray:
    """The strata within which rows are resampled: gold classes for F1 over classes, else all rows.

    Returns:
        Each row's stratum number, (B,).
    """
    if score.within_classes and not outcomes.labels.multi_label:
        return outcomes.gold_BC.argmax(axis=1)
    return np.zeros(len(outcomes.ids), dtype=np.int64)
