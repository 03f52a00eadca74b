"""The settings of several tasks that one model learns: which column, which labels, how much each weighs."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

from dhrd._text import shown
from dhrd.config.section import LabelNames, Section, Weight


class TaskSettings(Section):
    """One of several tasks (`tasks: {NAME: {…}}`)."""

    column: str | None = None
    """The rows' column with its labels; null: the task's name. A row without it, or with nothing there, has no label
    of this task and counts for the others."""
    labels: LabelNames | None = None
    """As `data.labels`, of this task."""
    weight: Weight = 1.0
    """Its loss weighs `loss.classification_weight` times this."""
    multi_label: bool = False
    """As `data.multi_label`, of this task; `data.label_separator` splits the text of such a task alone."""


_NAME = re.compile(r"\w(?:[\w .-]*\w)?")


def _named(value: object) -> object:
    """Tasks whose names can stand before a label's; none at all are null."""
    if not isinstance(value, dict):
        return value
    value = {name: {} if task is None else task for name, task in value.items()}
    for name in value:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(
                f"{shown(name)} is no name of a task; give letters and digits, with _ - . or space between"
            )
    return value or None


Tasks = Annotated[dict[str, TaskSettings] | None, BeforeValidator(_named)]
"""Tasks by name, in the order of their places in the head."""


def check_alone(tasks: dict[str, TaskSettings] | None, *of_one_task: object) -> None:
    """Refuse tasks beside what describes the only one.

    Args:
        tasks: As the config's.
        *of_one_task: Whether, or what, is given of `data.labels`, `data.multi_label` and so on.

    Raises:
        ValueError: Both are given.
    """
    if tasks and any(of_one_task):
        names = "data.labels, data.multi_label, data.columns.label and model.num_labels"
        raise ValueError(f"{names} are of one task; with `tasks` each has its own")


def column_of(name: str, task: TaskSettings) -> str:
    """The rows' column with a task's labels."""
    return task.column or name
