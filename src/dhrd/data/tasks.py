"""Rows of several tasks: the label set of each task, and what is wrong with a row that has a label of none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dhrd.config.tasks import TaskSettings, column_of
from dhrd.data.check import no_label
from dhrd.data.fields import MAX_PROBLEMS
from dhrd.data.label_sets import check_label_set, infer_labels
from dhrd.data.label_space import LabelSpace, of_task
from dhrd.data.labels import ByTask, LabelSet
from dhrd.data.records import Example
from dhrd.errors import DataError

logger = logging.getLogger("dhrd")


def infer_label_space(
    examples: Sequence[Example],
    tasks: Mapping[str, TaskSettings],
    own_labels: Callable[[str], LabelSet | None],
) -> LabelSpace:
    """The label sets of several tasks: each task's settings', its column's own, or what the rows show.

    Says how many rows each has.

    Args:
        examples: Training rows, whose labels are `ByTask`.
        tasks: The settings, by name.
        own_labels: Returns a column's label set in the source, if it has one.

    Raises:
        DataError: As `infer_labels`, or no row has a label of a task.
    """
    found: dict[str, LabelSet] = {}
    for name, task in tasks.items():
        rows, column = of_task(examples, name), column_of(name, task)
        if not rows:
            raise DataError(f"tasks.{name}: no training row has a label in {column!r}; name its column in `column`")
        try:
            found[name] = _label_set(rows, task, own_labels(column))
        except DataError as error:
            raise DataError(f"tasks.{name}: {error}") from error
    counts = ", ".join(f"{len(of_task(examples, name))} of {name}" for name in found)
    logger.info("labels of %d training rows: %s", len(examples), counts)
    return LabelSpace.of(found)


def _label_set(rows: Sequence[Example], task: TaskSettings, own: LabelSet | None) -> LabelSet:
    if own is None or task.labels is not None:
        return infer_labels(rows, names=task.labels, multi_label=task.multi_label)
    own = replace(own, multi_label=own.multi_label or task.multi_label)
    check_label_set(own)
    return own


def check_labelled(examples: Sequence[Example], tasks: Mapping[str, TaskSettings], *, reads_rationales: bool) -> None:
    """Refuse rows that have a label of no task, and nothing else to learn from.

    Args:
        examples: Rows of several tasks.
        tasks: The settings, by name.
        reads_rationales: Whether a rationale is learned from.

    Raises:
        DataError: Up to ten such rows, a line each.
    """
    empty = (example for example in examples if isinstance(example.label, ByTask) and not example.label.labels)
    odd = [example for example in empty if not (reads_rationales and example.rationale)]
    if odd:
        raise DataError("\n".join(f"{example.where}: {no_label(tasks)}" for example in odd[:MAX_PROBLEMS]))
