"""What a report holds: every key of its JSON, made complete so that nothing has to ask whether a key is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dhrd._text import escaped

FORMAT_VERSION = 1

_COMPARISON: dict[str, Any] = {
    "baseline": None,
    "other": None,
    "metric": None,
    "difference": None,
    "interval_95": None,
    "interval_method": None,
    "rows_interval_95": None,
    "p_value": None,
    "p_holm": None,
    "seed_differences": [],
    "mcnemar": [{"only_baseline": None, "only_other": None, "p_value": None}],
    "smallest_told": None,
    "num_rows": None,
    "num_seeds": None,
    "verdict": None,
}
_ARM: dict[str, Any] = {
    "arm": None,
    "title": None,
    "seeds": [{"seed": None, "values": {}}],
    "mean": {},
    "interval_95": {},
    "interval_method": None,
    "selected_on": False,
    "chosen": {},
    "calibration": {
        "ece": None,
        "brier": None,
        "log_loss": None,
        "temperature": None,
        "aurc": None,
        "reliability": [{"low": 0.0, "high": 1.0, "confidence": None, "accuracy": None, "count": 0}],
        "risk_coverage": [{"coverage": None, "risk": None, "threshold": None}],
    },
    "seconds": None,
    "train_tokens": None,
    "curve": [{"step": None, "classification_loss": None, "lm_loss": None}],
    "speed": {
        "queries_per_second": None,
        "min": None,
        "max": None,
        "num_queries": None,
        "engine": None,
        "mean_new_tokens": None,
        "unparsable_share": None,
        "accuracy": None,
        "device": None,
    },
    "unparsable": None,
    "mean_new_tokens": None,
}
_TASK: dict[str, Any] = {
    "task": None,
    "factors": {},
    "metrics": [],
    "num_validation": None,
    "num_train": None,
    "num_with_rationale": None,
    "majority_share": None,
    "arms": [_ARM],
    "comparisons": [_COMPARISON],
}
_CHOICE: dict[str, Any] = {
    "task": None,
    "backbone": None,
    "arm": None,
    "settings": {},
    "metric": None,
    "value": None,
    "num_folds": None,
    "chosen": False,
    "selected_on": False,
}
_REPORT: dict[str, Any] = {
    "format_version": FORMAT_VERSION,
    "study": None,
    "title": "Report",
    "question": None,
    "answer": None,
    "primary": {
        "difference": None,
        "interval_95": None,
        "interval_method": None,
        "p_value": None,
        "num_tasks": None,
        "num_seeds": None,
        "seed_differences": [],
        "verdict": None,
        "rows_interval_95": None,
    },
    "command": None,
    "created": None,
    "environments": [{"device": None, "versions": {}, "num_cells": None}],
    "backbones": [
        {
            "name": None,
            "average": {},
            "average_over": [],
            "relative_gain_percent": {},
            "over_tasks": [{**_COMPARISON, "num_tasks": None}],
            "tasks": [_TASK],
        }
    ],
    "choices": [_CHOICE],
    "paper": [{"what": None, "where": None, "value": None}],
    "undone": [{"cell": None, "why": None}],
    "limits": [],
    "settings": {},
    "arm_settings": {},
}
"""A report's whole format. `[record]` is a list of records, a filled record may be null, `{}` has free keys."""


def complete(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report with every key of the format: null or empty where nothing was given.

    Args:
        report: Whatever there is of a report.

    Returns:
        A copy, in which templates and figures need not ask whether a key is there, nor for control characters.
    """
    return _complete(_escaped(report), _REPORT)


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, Mapping):
        return {_escaped(key): _escaped(one) for key, one in value.items()}
    return [_escaped(one) for one in value] if isinstance(value, list | tuple) else value


def _complete(given: Mapping[str, Any], shape: Mapping[str, Any]) -> dict[str, Any]:
    return {**given, **{key: _completed(given.get(key), default) for key, default in shape.items()}}


def _completed(value: Any, default: Any) -> Any:
    if isinstance(default, list):
        return [_complete(one, default[0]) if default else one for one in value or []]
    if isinstance(default, dict) and default:
        return None if value is None else _complete(value, default)
    return default if value is None else value


def tasks(report: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each backbone with each of its tasks."""
    for backbone in report["backbones"]:
        for task in backbone["tasks"]:
            yield backbone, task


def cells(report: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Each backbone with each of its tasks and each of the task's arms."""
    for backbone, task in tasks(report):
        for arm in task["arms"]:
            yield backbone, task, arm


def first_metric(task: dict[str, Any]) -> str | None:
    """The task's first official metric, which figures and averages show."""
    return task["metrics"][0] if task["metrics"] else None
