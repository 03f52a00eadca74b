"""From the records of a SuperGLUE file, or of the hub's data set, to rows."""

from __future__ import annotations

from collections.abc import Iterator

from dhrd.data.row import BadRow, Row
from dhrd.data.superglue.task import Task


def task_rows(task: Task, records: Iterator[Row | BadRow], split: str) -> Iterator[Row | BadRow]:
    """The rows of records: their columns as the task has them, and labels by their names, however they are written.

    Args:
        task: What the records are of.
        records: As they were read.
        split: Which split they are of, for the rows' ids.
    """
    for record in records:
        if isinstance(record, BadRow):
            yield record
            continue
        try:
            for columns in task.rows(record.columns, split):
                label = columns.get("label")
                # The official files write booleans or names, COPA and MultiRC 0 and 1; the hub integers, -1 unknown.
                if isinstance(label, int) and not isinstance(label, bool):
                    columns["label"] = task.labels[label] if 0 <= label < len(task.labels) else None
                elif isinstance(label, str):
                    columns["label"] = label.lower()  # the hub's classes are named False and True
                yield Row(record.where, columns)
        except (LookupError, TypeError, AttributeError) as error:
            yield BadRow(record.where, f"not a {task.folder} record: {error} is missing or of the wrong type")
