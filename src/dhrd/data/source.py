"""Rows from any origin: read, checked, and their errors reported together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from dhrd.config.tasks import TaskSettings
from dhrd.data.check import Problems, RowCheck
from dhrd.data.readers import is_read_once
from dhrd.data.records import Example, LabelSet
from dhrd.data.row import BadRow, Remarks, Row
from dhrd.data.superglue import Task
from dhrd.data.templates import PLAIN, InputTemplate
from dhrd.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Rows that can be read, and what their origin knows of them.

    Args:
        name: What was requested, for messages.
        read: Starts reading; may be called again.
        columns: Our field -> the row's column.
        template: The config's input template, or the origin's own.
        own_labels: The origin's own label set of a column, if it has one.
        tasks: The settings of each task by name, if rows have labels of several tasks.
        label_separator: Splits a label's text into several.
        task: The SuperGLUE task, for its official metrics.
        reads_rationales: Whether the rows' rationales are read; if not, their column may hold anything.
        weighs: Whether the rows' weights are read; if not, their column may be missing.
        has_model: Whether the template is that of a trained model, which the rows are read for.
        named: Fields whose columns were named for these rows; for others rows to predict on may have our own name.
        remarks: Logs warnings about what looks wrong.
    """

    name: str
    read: Callable[[], Iterator[Row | BadRow]]
    columns: Mapping[str, str]
    template: str = PLAIN
    own_labels: Callable[[str], LabelSet | None] = lambda _: None
    tasks: Mapping[str, TaskSettings] = field(default_factory=dict)
    label_separator: str | None = None
    task: Task | None = None
    reads_rationales: bool = True
    weighs: bool = True
    has_model: bool = False
    named: frozenset[str] = frozenset()
    remarks: Remarks = field(default_factory=Remarks, compare=False)

    @property
    def labels(self) -> LabelSet | None:
        """The origin's own label set, where it has one."""
        return self.own_labels(self.columns.get("label", "label"))

    def examples(
        self,
        *,
        labels_required: bool = True,
        limit: int | None = None,
        refuse: Callable[[Row | BadRow, str], None] | None = None,
    ) -> Iterator[Example]:
        """Read, check and yield the rows, in constant memory (but for the digests of those without an id).

        Without `labels_required` nothing but the id and the template's columns is looked at.

        At the first bad row yielding stops; reading continues until ten bad rows are found, to report them together. If
        `refuse` is given, it is called with each bad row and its problem instead, and these rows are left out.

        Raises:
            DataError: A line a bad row, or for all that lack a column: `file:line: field: what is wrong; how to fix`.
        """
        problems = Problems()
        check = RowCheck(
            name=self.name,
            columns=self.columns,
            template=InputTemplate(self.template, is_learned=self.has_model),
            label_separator=self.label_separator if labels_required else None,
            labels_required=labels_required,
            tasks=self.tasks,
            reads_rationales=self.reads_rationales,
            weighs=self.weighs,
            named=self.named,
            remark=self.remarks,
        )
        for row in islice(self.read(), limit):
            example = check.example(row)
            if isinstance(example, str) and refuse is not None:
                refuse(row, example.removeprefix(f"{row.where}: "))
            elif isinstance(example, str):
                problems.add(example, check.lacking(row, example))
                if problems.are_many:
                    break
            elif not problems.lines:
                yield example
        problems.tell()
        check.finish()

    def load(self, *, labels_required: bool = True, limit: int | None = None) -> list[Example]:
        """All rows.

        Raises:
            DataError: As `examples`, or there is no row at all.
        """
        examples = list(self.examples(labels_required=labels_required, limit=limit))
        if not examples:
            raise DataError(f"{self.name}: no rows")
        return examples

    def check(self, *, labels_required: bool = True) -> None:
        """Refuse rows that are not there, or whose first cannot be used; a stream and the hub are not asked.

        Raises:
            DataError: As `examples`; or labelled rows are asked for, and there is none.
        """
        if is_read_once(Path(self.name)) or self.name.startswith(("hub:", "superglue:")):
            return
        if next(self.examples(labels_required=labels_required), None) is None and labels_required:
            raise DataError(f"{self.name}: no rows")
