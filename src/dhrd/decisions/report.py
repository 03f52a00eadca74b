"""What a decision gives on labelled rows: how many are answered, how many of those rightly."""

from __future__ import annotations

from typing import NotRequired, TypedDict

import numpy as np

from dhrd.decisions.certify import Labelled
from dhrd.decisions.counts import Counts
from dhrd.decisions.decision import Decision
from dhrd.decisions.target import Target

_ACCURACY = Target(measure="accuracy", level=0.5)


class TargetMetrics(TypedDict):
    """A target, its share among the rows that it is about, and how many these are."""

    target: str
    share: float | None
    share_interval_95: list[float]
    num_rows: int


class SetMetrics(TypedDict):
    """How often label sets hold all right labels, and how many labels they have."""

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


def decision_metrics(decision: Decision, rows: Labelled) -> DecisionMetrics:
    """Coverage, the accuracy of what was answered, and each target's share, with intervals of Clopper and Pearson.

    Args:
        decision: Of the artifact.
        rows: Other rows than those of the choice, where the figures shall be of use.
    """
    answered_B = decision.answered(rows.probabilities_BC, rows.names, multi_label=rows.multi_label)
    covered, right = Counts(int(answered_B.sum()), len(answered_B)), rows.counts(_ACCURACY, answered_B)
    metrics = DecisionMetrics(
        num_answered=covered.num_right,
        coverage=_share(covered),
        coverage_interval_95=list(covered.interval()),
        accuracy=_share(right),
        accuracy_interval_95=list(right.interval()),
        targets=[_target(rule.target, rows.counts(rule.target, answered_B)) for rule in decision.rules],
    )
    if decision.sets is not None:
        metrics["sets"] = _sets(decision, rows)
    return metrics


def _share(found: Counts) -> float | None:
    return found.share if found.num_rows else None


def _target(target: Target, found: Counts) -> TargetMetrics:
    return {
        "target": str(target),
        "share": _share(found),
        "share_interval_95": list(found.interval()),
        "num_rows": found.num_rows,
    }


def _sets(decision: Decision, rows: Labelled) -> SetMetrics:
    in_set = [set(names) for names in decision.label_sets(rows.probabilities_BC, rows.names) or ()]
    gold = [{rows.names[int(index)] for index in np.flatnonzero(row)} for row in rows.gold_BC]
    covered = Counts(sum(right <= offered for right, offered in zip(gold, in_set, strict=True)), len(gold))
    return {
        "coverage": _share(covered),
        "coverage_interval_95": list(covered.interval()),
        "mean_size": float(np.mean([len(offered) for offered in in_set])),
    }
