"""Measuring a decision on labelled rows: how many are answered, and how many of those correctly.

Shape legend: B rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NotRequired, TypedDict

import numpy as np

from dhrd.decisions.certify import Labelled
from dhrd.decisions.counts import Counts
from dhrd.decisions.decision import Decision
from dhrd.decisions.target import Target

_ACCURACY = Target(measure="accuracy", level=0.5)

ShareInterval = Callable[[np.ndarray, np.ndarray], tuple[float, float]]
"""The 95 % interval of a share: from the rows that count and those that it is a share of, (B,) each."""


class TargetMetrics(TypedDict):
    """A target, its share among the rows that it concerns, and their number."""

    target: str
    share: float | None
    share_interval_95: list[float]
    num_rows: int


class SetMetrics(TypedDict):
    """How often label sets contain all right labels, and their mean size."""

    coverage: float | None
    coverage_interval_95: list[float]
    mean_size: float


class DecisionMetrics(TypedDict):
    """What a decision gives on rows: how many are answered, how many of those rightly (None: none is answered).

    `selected_on`: these rows chose the decision, so that new ones do a little worse.
    """

    num_answered: int
    coverage: float | None
    coverage_interval_95: list[float]
    accuracy: float | None
    accuracy_interval_95: list[float]
    targets: list[TargetMetrics]
    sets: NotRequired[SetMetrics]
    selected_on: NotRequired[bool]


def exact_interval(met_B: np.ndarray, about_B: np.ndarray) -> tuple[float, float]:
    """The exact interval of a share, each row drawn by itself; see `Counts.interval`."""
    return _counts(met_B, about_B).interval()


def decision_metrics(decision: Decision, rows: Labelled, interval: ShareInterval = exact_interval) -> DecisionMetrics:
    """Coverage, accuracy of the answered rows, and each target's share, with intervals.

    Args:
        decision: The artifact's decision.
        rows: Labelled rows, which should differ from those it was chosen on.
        interval: The intervals of the shares; other than exact where rows do not stand alone.
    """
    answered_B = decision.answered(rows.probabilities_BC, rows.names, multi_label=rows.multi_label)
    right_B, all_B = rows.met_and_about(_ACCURACY)
    metrics = DecisionMetrics(
        num_answered=int(answered_B.sum()),
        coverage=_share(answered_B, all_B),
        coverage_interval_95=list(interval(answered_B, all_B)),
        accuracy=_share(right_B, answered_B),
        accuracy_interval_95=list(interval(right_B, answered_B)),
        targets=[_target(rule.target, rows, answered_B, interval) for rule in decision.rules],
    )
    if decision.sets is not None:
        metrics["sets"] = _sets(decision, rows, interval)
    return metrics


def _counts(met_B: np.ndarray, about_B: np.ndarray) -> Counts:
    return Counts(int((met_B & about_B).sum()), int(about_B.sum()))


def _share(met_B: np.ndarray, about_B: np.ndarray) -> float | None:
    found = _counts(met_B, about_B)
    return found.share if found.num_rows else None


def _target(target: Target, rows: Labelled, answered_B: np.ndarray, interval: ShareInterval) -> TargetMetrics:
    met_B, about_B = rows.met_and_about(target)
    about_B = about_B & answered_B
    return {
        "target": str(target),
        "share": _share(met_B, about_B),
        "share_interval_95": list(interval(met_B, about_B)),
        "num_rows": int(about_B.sum()),
    }


def _sets(decision: Decision, rows: Labelled, interval: ShareInterval) -> SetMetrics:
    in_set = [set(names) for names in decision.label_sets(rows.probabilities_BC, rows.names) or ()]
    gold = [{rows.names[int(index)] for index in np.flatnonzero(row)} for row in rows.gold_BC]
    held_B = np.array([right <= offered for right, offered in zip(gold, in_set, strict=True)], dtype=bool)
    all_B = np.ones_like(held_B)
    return {
        "coverage": _share(held_B, all_B),
        "coverage_interval_95": list(interval(held_B, all_B)),
        "mean_size": float(np.mean([len(offered) for offered in in_set])),
    }
