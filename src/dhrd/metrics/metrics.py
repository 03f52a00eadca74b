"""How good predictions are: the numbers of `evaluate`, with intervals, for single-label and multi-label tasks.

Shape legend: B rows, C classes, R resamples; in the bootstraps K is kinds of row, G paragraphs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import f1_score, multilabel_confusion_matrix, precision_recall_fscore_support

from dhrd.data.records import LabelSet
from dhrd.data.rows import one_hot
from dhrd.data.superglue import Task
from dhrd.errors import ArtifactError, ConfigError, DataError
from dhrd.metrics.f1 import DENSE_LABELS, averages, confusion_CC, f1, f1_intervals
from dhrd.metrics.intervals import Interval, bootstrap, wilson

_METRICS = ("accuracy", "macro_f1", "weighted_f1", "log_loss")
_LOWER_IS_BETTER = frozenset({"log_loss"})
_ANSWER_ID = re.compile(r"(?P<question>(?P<paragraph>.+-\d+)-\d+)-\d+")  # multirc-SPLIT-PARAGRAPH-QUESTION-ANSWER


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What a classifier said of rows whose labels are known.

    Args:
        ids: The rows' ids.
        probabilities_BC: Each label's probability; rows sum to one unless multi-label.
        gold_BC: 0/1: one-hot, or multi-hot for multi-label.
        labels: The C labels.

    Raises:
        ArtifactError: A probability is NaN or infinite.
    """

    ids: list[str]
    probabilities_BC: np.ndarray
    gold_BC: np.ndarray
    labels: LabelSet

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.labels))
        assert self.probabilities_BC.shape == self.gold_BC.shape == shape, (self.probabilities_BC.shape, shape)
        assert np.isin(self.gold_BC, (0, 1)).all(), "gold_BC is 0/1"
        assert self.labels.multi_label or (self.gold_BC.sum(axis=1) == 1).all(), "one label a row"
        self._refuse_non_finite()
        # Logits given by mistake would pass for probabilities; the slack is for averages of probabilities
        assert ((self.probabilities_BC >= 0) & (self.probabilities_BC <= 1 + 1e-3)).all(), "probabilities in [0, 1]"

    def _refuse_non_finite(self) -> None:
        broken = np.flatnonzero(~np.isfinite(self.probabilities_BC).all(axis=1))
        if broken.size:
            raise ArtifactError(
                f"row {self.ids[broken[0]]!r}: its probabilities are not finite ({broken.size} of {len(self.ids)} rows "
                "are so); the model's weights are damaged or overflow their data type: try float32, or train again"
            )

    @property
    def predicted_B(self) -> np.ndarray:
        """The most probable label of each row; the first of equals."""
        assert not self.labels.multi_label
        return self.probabilities_BC.argmax(axis=1)

    @property
    def gold_B(self) -> np.ndarray:
        """The label of each row."""
        assert not self.labels.multi_label
        return self.gold_BC.argmax(axis=1)

    @property
    def predicted_BC(self) -> np.ndarray:
        """0/1 as `gold_BC`: the labels at p >= 0.5 for multi-label, else the most probable one."""
        if self.labels.multi_label:
            return (self.probabilities_BC >= 0.5).astype(np.int64)
        return one_hot(self.predicted_B, len(self.labels))


def compute_metrics(
    predictions: Predictions,
    *,
    task: Task | None = None,
    intervals: bool = True,
    num_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Every number of an evaluation, ready for JSON.

    F1 averages are over all labels of the label set: one that is in neither gold nor predictions (`absent`) counts as
    0 in `macro_f1`, as does every 0/0 (scikit-learn's `f1_score(labels=range(C), zero_division=0)`). `log_loss` is in
    nats.

    Args:
        predictions: At least one row.
        task: Adds its official metrics (MultiRC: `f1a` over all answers; `em`, the share of questions with every answer
            right) and names them under `official`.
        intervals: Whether to add `interval_95`: Wilson for accuracy, else bootstrap, by gold class for macro and
            weighted F1, over whole paragraphs for MultiRC's own, over rows for multi-label. All but MultiRC's own take
            the rows as independent. Costly.
        num_resamples: Of each bootstrap.
        seed: Of each bootstrap.

    Returns:
        `num_examples`, `accuracy`, `macro_f1`, `weighted_f1`, `log_loss`, `per_class`, `absent`, `confusion_matrix`
        (above 1,000 labels its cells that are not 0, as `[gold, predicted, count]`), `official`.
        Multi-label: `accuracy` is the share of rows with every label right, `log_loss` the mean over rows and labels,
        `micro_f1` is added, `confusion_matrix` has [[tn, fp], [fn, tp]] by label.

    Raises:
        DataError: There are no rows, or they are not the task's.
    """
    if not predictions.ids:
        raise DataError("there are no rows to evaluate; check the file and the split")
    hits_B = (predictions.predicted_BC == predictions.gold_BC).all(axis=1)
    answers = _Answers.of(predictions, task) if task is not None and "f1a" in task.metrics else None
    metrics: dict[str, Any] = {
        "num_examples": len(predictions.ids),
        "accuracy": float(hits_B.mean()),
        **_f1_averages(predictions),
        "log_loss": _log_loss(predictions),
        **(answers.metrics() if answers else {}),
        "official": list(task.metrics) if task else [],
    }
    if intervals:
        settings = {"num_resamples": num_resamples, "seed": seed}
        found = {"accuracy": wilson(int(hits_B.sum()), len(hits_B)), **f1_intervals(predictions, **settings)}
        found |= answers.intervals(**settings) if answers else {}
        metrics["interval_95"] = {name: list(interval) for name, interval in found.items()}
    metrics["per_class"] = _per_class(predictions)
    seen_C = (predictions.gold_BC.astype(bool) | predictions.predicted_BC.astype(bool)).any(axis=0)
    metrics["absent"] = [name for name, seen in zip(predictions.labels.names, seen_C, strict=True) if not seen]
    metrics["confusion_matrix"] = _confusion(predictions)
    missing = [name for name in metrics["official"] if name not in metrics]
    assert not missing, f"{missing} are official but not computed"
    return metrics


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """The plain numbers among the metrics: what is logged and watched during training."""
    return {name: float(value) for name, value in metrics.items() if isinstance(value, float)}


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of the metric is a better one."""
    return metric not in _LOWER_IS_BETTER


def main_metric(task: Task | None) -> str:
    """What `best` and `patience` watch unless told otherwise: the task's first official metric, else accuracy."""
    return task.metrics[0] if task else "accuracy"


def check_metric(name: str, task: Task | None, *, multi_label: bool = False) -> None:
    """Refuse a metric that `compute_metrics` would not give.

    Raises:
        ConfigError: It is unknown, or not one of this task.
    """
    known = dict.fromkeys([*_METRICS, *(["micro_f1"] if multi_label else []), *(task.metrics if task else ())])
    if name not in known:
        raise ConfigError(f"training.metric: {name!r} is not a metric of this task; give one of {', '.join(known)}")


def _log_loss(predictions: Predictions) -> float:
    """Mean negative log-likelihood in nats; binary cross-entropy over rows and labels for multi-label."""
    gold_BC = predictions.gold_BC.astype(np.float64)
    # Clipped as scikit-learn does, so that one sure and wrong row costs 36 nats and not infinity
    eps = np.finfo(np.float64).eps
    p_BC = predictions.probabilities_BC.astype(np.float64).clip(eps, 1 - eps)
    if predictions.labels.multi_label:
        return float(-(gold_BC * np.log(p_BC) + (1 - gold_BC) * np.log(1 - p_BC)).mean())
    return float(-(gold_BC * np.log(p_BC)).sum(axis=1).mean())


def _f1_averages(predictions: Predictions) -> dict[str, float]:
    gold_BC, predicted_BC = predictions.gold_BC.astype(np.int64), predictions.predicted_BC
    return {
        f"{average}_f1": float(f1_score(gold_BC, predicted_BC, average=average, zero_division=0))
        for average in averages(predictions)
    }


def _per_class(predictions: Predictions) -> dict[str, dict[str, float]]:
    columns = precision_recall_fscore_support(
        predictions.gold_BC.astype(np.int64), predictions.predicted_BC, average=None, zero_division=0
    )
    return {
        name: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "support": int(support)}
        for name, precision, recall, f1, support in zip(predictions.labels.names, *columns, strict=True)
    }


def _confusion(predictions: Predictions) -> dict[str, Any]:
    """Rows are gold, columns predicted."""
    names = predictions.labels.names
    if predictions.labels.multi_label:
        tables = multilabel_confusion_matrix(predictions.gold_BC.astype(np.int64), predictions.predicted_BC)
        return {name: table.tolist() for name, table in zip(names, tables, strict=True)}
    if len(names) > DENSE_LABELS:
        return {"labels": list(names), "cells": _confusion_cells(predictions)}
    return {"labels": list(names), "counts": confusion_CC(predictions).tolist()}


def _confusion_cells(predictions: Predictions) -> list[list[int]]:
    pairs, counts = np.unique(np.stack([predictions.gold_B, predictions.predicted_B], 1), axis=0, return_counts=True)
    return np.concatenate([pairs, counts[:, None]], axis=1).tolist()


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """MultiRC's counts by paragraph: answers to one paragraph stand or fall together, so paragraphs are resampled."""

    f1a_G3: np.ndarray  # right answers called right, called right, right
    em_G2: np.ndarray  # questions with every answer judged rightly, questions

    @classmethod
    def of(cls, predictions: Predictions, task: Task) -> _Answers:
        if predictions.labels.names != task.labels:
            raise DataError(
                f"{task.name} has the labels {', '.join(task.labels)}; the model has "
                f"{', '.join(predictions.labels.names)}: evaluate a model trained on {task.name}"
            )
        paragraph_B, question_B = paragraphs_and_questions(predictions.ids)
        gold_B, predicted_B = predictions.gold_B, predictions.predicted_B
        questions, first_of_Q, question_B = np.unique(question_B, return_index=True, return_inverse=True)
        wrong_Q = np.bincount(question_B, weights=gold_B != predicted_B, minlength=len(questions))
        paragraph_Q = paragraph_B[first_of_Q]
        return cls(
            f1a_G3=_sum_by(paragraph_B, [gold_B * predicted_B, predicted_B, gold_B]),
            em_G2=_sum_by(paragraph_Q, [wrong_Q == 0, np.ones_like(wrong_Q)]),
        )

    def metrics(self) -> dict[str, float]:
        every_paragraph_once = np.ones((1, 1, len(self.em_G2)))
        return {"f1a": float(self._f1a(every_paragraph_once)[0]), "em": float(self._em(every_paragraph_once)[0])}

    def intervals(self, *, num_resamples: int, seed: int) -> dict[str, Interval]:
        paragraphs = np.ones((1, len(self.em_G2)), dtype=np.int64)
        return {
            name: bootstrap(metric, paragraphs, num_resamples=num_resamples, seed=seed)
            for name, metric in (("f1a", self._f1a), ("em", self._em))
        }

    def _f1a(self, weights_R1G: np.ndarray) -> np.ndarray:
        return f1(*(weights_R1G[:, 0] @ self.f1a_G3).T)

    def _em(self, weights_R1G: np.ndarray) -> np.ndarray:
        exact_R, questions_R = (weights_R1G[:, 0] @ self.em_G2).T
        return exact_R / questions_R


def paragraphs_and_questions(ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The paragraph's number and the question's name of each row."""
    found = [_ANSWER_ID.fullmatch(one) for one in ids]
    if None in found:
        raise DataError(
            f"row {ids[found.index(None)]!r}: a MultiRC id is multirc-SPLIT-PARAGRAPH-QUESTION-ANSWER, so that answers "
            "can be grouped; keep the ids that superglue:multirc gives"
        )
    paragraphs = [match["paragraph"] for match in found if match]
    return np.unique(paragraphs, return_inverse=True)[1], np.array([match["question"] for match in found if match])


def _sum_by(group: np.ndarray, columns: Sequence[np.ndarray]) -> np.ndarray:
    """(groups, columns): each column's sum within each group."""
    return np.stack([np.bincount(group, weights=column) for column in columns], axis=1)
