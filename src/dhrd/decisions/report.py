"""What a decision gives on labelled rows: how many are answered, how many of those rightly."""

from __future__ import annotations

from typing import Any

import numpy as np

from dhrd.decisions.certify import Labelled
from dhrd.decisions.counts import Counts
from dhrd.decisions.decision import Decision
from dhrd.decisions.target import Target

_ACCURACY = Target(measure="accuracy", level=0.5)


def decision_metrics(decision: Decision, rows: Labelled) -> dict[str, Any]:
    """Coverage, the accuracy of what was answered, and each target's share.

    Args:
        decision: Of the artifact.
        rows: Other rows than those of the choice, where the figures shall be of use.

    Returns:
        `num_answered`, `coverage`, `accuracy` (null where nothing is answered), both with `_interval_95` (Clopper and
        Pearson); `targets`, a list of `target`, `share`, `share_interval_95`, `num_rows`; with label sets `sets`:
        `coverage` with its interval and `mean_size`.
    """
    answered_B = decision.answered(rows.probabilities_BC, rows.names, multi_label=rows.multi_label)
    metrics = {
        "num_answered": int(answered_B.sum()),
        **_share("coverage", Counts(int(answered_B.sum()), len(answered_B))),
        **_share("accuracy", rows.counts(_ACCURACY, answered_B)),
        "targets": [_target(rule.target, rows.counts(rule.target, answered_B)) for rule in decision.rules],
    }
    return metrics if decision.sets is None else metrics | {"sets": _sets(decision, rows)}


def _share(name: str, found: Counts) -> dict[str, Any]:
    value = found.share if found.num_rows else None
    return {name: value, f"{name}_interval_95": list(found.interval())}


def _target(target: Target, found: Counts) -> dict[str, Any]:
    return {"target": str(target), **_share("share", found), "num_rows": found.num_rows}


def _sets(decision: Decision, rows: Labelled) -> dict[str, Any]:
    in_set = [set(names) for names in decision.label_sets(rows.probabilities_BC, rows.names) or ()]
    gold = [{rows.names[int(index)] for index in np.flatnonzero(row)} for row in rows.gold_BC]
    covered = sum(right <= offered for right, offered in zip(gold, in_set, strict=True))
    return {
        **_share("coverage", Counts(covered, len(gold))),
        "mean_size": float(np.mean([len(offered) for offered in in_set])),
    }
