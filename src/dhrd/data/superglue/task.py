"""What a SuperGLUE task is to dhrd. Each task is one file beside this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dhrd.data.superglue.score import Score

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task: its folder, its template, its labels.

    Args:
        name: As in `superglue:NAME` and in ids.
        folder: Its folder in the official layout.
        template: The input template over the task's columns.
        labels: Label names, in the hub's order of integers.
        words: How the reasoning head writes each label; () for the labels themselves.
        leaks: Regular expressions of words by which a rationale would give the label away, beside the labels' own.
        metrics: The official metrics; the first is what `best` and `patience` watch.
        scores: Those of them that no other task has.
        group_of: From an id to its group, for files that name none; with it, whole groups are resampled for `scores`.
        num_id_numbers: How many numbers name a row within its split.
        rows: From one official record and its split to rows with `id`, `label` and the template's columns.
    """

    name: str
    folder: str
    template: str
    labels: tuple[str, ...]
    words: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("accuracy",)
    scores: tuple[Score, ...] = ()
    group_of: Callable[[str], str] | None = None
    num_id_numbers: int = 1
    rows: Callable[[Record, str], Iterator[dict[str, object]]]


def single_row(task: str) -> Callable[[Record, str], Iterator[dict[str, object]]]:
    """For tasks whose record is one row: its columns, with the id `TASK-SPLIT-IDX`."""

    def rows(record: Record, split: str) -> Iterator[dict[str, object]]:
        yield {**record, "id": f"{task}-{split}-{record['idx']}"}

    return rows
