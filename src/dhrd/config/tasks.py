"""The settings of several tasks learned by one model: their columns, labels and weights."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

from dhrd._text import shown
from dhrd.config.section import LabelNames, Section, Weight


class TaskSettings(Section):
    """One of several tasks (`tasks: {NAME: {…}}`)."""

    column: str | None = None
    """The column with this task's labels; null: the task's name. A row where it is missing or empty has no label of
    this task and is used for the others."""
    labels: LabelNames | None = None
    """As `data.labels`, for this task."""
    weight: Weight = 1.0
    """Factor on `loss.classification_weight` for this task's loss."""
    multi_label: bool = False
    """As `data.multi_label`, for this task; `data.label_separator` applies only to multi-label tasks."""


_NAME = re.compile(r"\w(?:[\w .-]*\w)?")


def _named(value: object) -> object:
    """Check that task names can prefix label names; an empty mapping becomes None."""
    if not isinstance(value, dict):
        return value
    value = {name: {} if task is None else task for name, task in value.items()}
    for name in value:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(
                f"{shown(name)} is not a valid task name; use letters and digits, with _ - . or space in between"
            )
    return value or None


Tasks = Annotated[dict[str, TaskSettings] | None, BeforeValidator(_named)]
"""Tasks by name, in the order of their outputs in the head."""


def check_alone(tasks: dict[str, TaskSettings] | None, *of_one_task: object) -> None:
    """Reject `tasks` together with settings of a single task.

    Args:
        tasks: The config's `tasks`.
        *of_one_task: The values of `data.labels`, `data.multi_label` and so on; falsy if not given.

    Raises:
        ValueError: Both are given.
    """
    if tasks and any(of_one_task):
        names = "data.labels, data.multi_label, data.columns.label and model.num_labels"
        raise ValueError(f"{names} apply to a single task; with `tasks`, set them for each task instead")


def column_of(name: str, task: TaskSettings) -> str:
    """The column with a task's labels."""
    return task.column or name
