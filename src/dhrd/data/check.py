"""From a row to a checked `Example`, and what is noticed on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from dhrd._text import shown
from dhrd.config.tasks import TaskSettings, column_of
from dhrd.data.digest import DigestIds, input_digest
from dhrd.data.fields import MAX_PROBLEMS, check_characters, column_names, input_text, key, label, optional_text, weight
from dhrd.data.labels import ByTask
from dhrd.data.objects import with_own_names
from dhrd.data.records import Example, Label
from dhrd.data.row import BadRow, Row
from dhrd.data.templates import ROW, InputTemplate
from dhrd.data.values import plain_columns
from dhrd.errors import ColumnError, DataError

_MISSING = {"nan", "none", "null", "nil", "n/a", "na", "#n/a", "<na>", "nat"}
_WEIGHTS = ("weights", "sample_weight", "row_weight")


@dataclass
class Problems:
    """Up to ten problems with rows, to be reported together."""

    lines: list[str] = field(default_factory=list)
    _lacking: set[frozenset[str]] = field(default_factory=set)

    def add(self, line: str, lacking: frozenset[str]) -> None:
        """Note a bad row.

        Args:
            line: Its place, and what is wrong.
            lacking: Columns that it lacks, if that is the problem.
        """
        self.lines.append(line)
        self._lacking.add(lacking)

    @property
    def are_many(self) -> bool:
        """Whether there are enough problems to stop."""
        return len(self.lines) == MAX_PROBLEMS

    def tell(self) -> None:
        """Raise the problems, if any.

        Raises:
            DataError: One line each; one for all if they lack the same columns. `ColumnError` if a row lacks one.
        """
        kind = ColumnError if any(self._lacking) else DataError
        if len(self.lines) > 1 and len(self._lacking) == 1 and all(self._lacking):
            at_least, more = "at least " if self.are_many else "", len(self.lines) - 1
            others = f"{at_least}{more} more rows are" if more > 1 else "1 more row is"
            raise kind(f"{self.lines[0]}; {others} like it")
        if self.lines:
            raise kind("\n".join([*self.lines, *["(there may be more)"] * self.are_many]))


@dataclass(kw_only=True)
class RowCheck:
    """Checks the rows of one reading.

    Args:
        name: Name of the rows, for messages.
        columns: Our field -> the row's column.
        template: The input template.
        label_separator: Splits a label's text into several.
        labels_required: Whether rows must have a label; if not, only the id and the template's columns are read.
        tasks: The settings of each task by name, if rows have labels of several tasks.
        reads_rationales: Whether the rationale column is read.
        weighs: Whether the weight column is read.
        named: Fields whose columns were named for these rows, and must be there.
        remark: Called at the end with warnings about what looks wrong.
    """

    name: str
    columns: Mapping[str, str]
    template: InputTemplate
    labels_required: bool
    label_separator: str | None = None
    tasks: Mapping[str, TaskSettings] = field(default_factory=dict)
    reads_rationales: bool = True
    weighs: bool = True
    named: Collection[str] = ()
    remark: Callable[[str], None]
    _ids: DigestIds = field(default_factory=DigestIds)
    _missing: Counter[tuple[str, str]] = field(default_factory=Counter)
    _unread_weight: str = ""

    def example(self, row: Row | BadRow) -> Example | str:
        """The row as an `Example`, or what is wrong with it."""
        if isinstance(row, BadRow):
            return f"{row.where}: {row.problem}"
        try:
            example = self._example(Row(row.where, plain_columns(row.columns), plain_columns(row.own)), row)
            text = self.template.render(example.columns(), where=row.where)
            example = replace(example, rendered=(self.template.source, text))
        except (ValueError, RecursionError) as error:
            return f"{row.where}: {error}"
        except DataError as error:
            return str(error) if str(error).startswith(row.where) else f"{row.where}: {error}"
        self._notice(example)
        return example

    def lacking(self, row: Row | BadRow, problem: str) -> frozenset[str]:
        """The fields and columns named in a row's problem that the row does not have at all."""
        if isinstance(row, BadRow):
            return frozenset()
        read = self.template.variables - {ROW, "input_text", *with_own_names(row.columns, self.columns)}
        of_tasks = {column_of(name, task) for name, task in self.tasks.items()}
        has_no_task = bool(of_tasks) and of_tasks.isdisjoint(row.columns)
        absent = [*self._absent(row), *read, *(["label"] if has_no_task else [])]
        return frozenset(name for name in absent if name in problem)

    def finish(self) -> None:
        """Report what was noticed."""
        if self._missing:
            counts = ", ".join(f"{name} {shown(word)} in {n} rows" for (name, word), n in self._missing.most_common(5))
            self.remark(
                f"{self.name}: words for missing values are kept as text ({counts}); if they mean nothing, leave "
                "the cell empty"
            )
        if self._unread_weight:
            self.remark(
                f"{self.name}: the column {shown(self._unread_weight)} is ignored; to weight rows by it, set "
                f"data.columns.weight={self._unread_weight}"
            )

    def _example(self, row: Row, given: Row) -> Example:
        """The plain row as an `Example`; its label as it was given, since the NaN of a share is no null."""
        _refuse_header(row, {"input_text", *self.columns.values()})
        self._refuse_missing(row)
        values = {name: self._value(row, name) for name in ("input_text", "rationale", "id", "group")}
        read = {*self.template.variables, self._column(row, "input_text"), self._column(row, "id")}
        check_characters(replace(row, columns={**row.columns, **row.own}), None if self.labels_required else read)
        if not self.labels_required:
            values |= {"rationale": None, "group": None}
        if not self.reads_rationales:
            values["rationale"] = None
        fields = with_own_names(row.columns, self.columns)
        text = input_text(values["input_text"], row, required="input_text" in self.template.variables)
        digest = input_digest(fields, self.template)
        return Example(
            input_text=text,
            label=self._label(row, given),
            rationale=optional_text("rationale", values["rationale"]),
            rationale_task=self._rationale_task(given),
            id=self._key(row, "id", values["id"]) or self._ids.next(digest),
            group=self._key(row, "group", values["group"]),
            weight=self._weight(row),
            fields=row.columns,
            where=row.where,
            digest=digest,
        )

    def _key(self, row: Row, name: str, value: object) -> str | None:
        return key(name, value, None if name in row.own else self._column(row, name))

    def _rationale_task(self, given: Row) -> str | None:
        """An `Example`'s; a file of rows has rationales for its first task."""
        name = given.own.get("rationale_task") if self.tasks else None
        if name is not None and name not in self.tasks:
            raise ValueError(f"rationale_task: {shown(str(name))} is no task; there are {', '.join(self.tasks)}")
        return None if name is None else str(name)

    def _label(self, row: Row, given: Row) -> Label | None:
        if not self.labels_required:
            return None
        if not self.tasks:
            column = self._column(row, "label")
            return label(self._value(given, "label"), True, row, self.label_separator, column=column)
        if isinstance(known := given.own.get("label"), ByTask):
            return known
        labels: dict[str, Label] = {}
        for name, task in self.tasks.items():
            separator = self.label_separator if task.multi_label else None
            try:
                own = label(given.columns.get(column_of(name, task)), False, row, separator)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            labels |= {} if own is None else {name: own}
        if not labels and not self.reads_rationales:
            raise ValueError(no_label(self.tasks))
        return ByTask(labels)

    def _weight(self, row: Row) -> float:
        """Not a column that only happens to have the name: what the template reads, or may by `row`, is text."""
        is_text = not {"weight", "row"}.isdisjoint(self.template.variables)
        if not (self.labels_required and self.weighs) or (is_text and "weight" not in {*self.columns, *row.own}):
            return 1.0
        column = self._column(row, "weight")
        return weight(row.own.get("weight", row.columns.get(column, 1.0)), column)

    def _value(self, row: Row, name: str) -> object:
        """A field: an `Example`'s own, else what its column holds."""
        return row.own[name] if name in row.own else row.columns.get(self._column(row, name))

    def _column(self, row: Row, name: str) -> str:
        """A field's column; rows to predict on may have our own name for it instead of the training rows'."""
        column = self.columns.get(name, name)
        return column if column in row.columns or self.labels_required or name in self.named else name

    def _refuse_missing(self, row: Row) -> None:
        """Refuse a row without required columns; an unmapped one is reported where its value is read."""
        missing = self._absent(row)
        if not missing or (len(missing) == 1 and missing[0] not in self.columns):
            return
        columns = " and no column ".join(shown(self.columns.get(name, name)) for name in missing)
        named = ", which data.columns names" if {*missing} & {*self.columns} else ""
        mend = ", ".join(f"`data.columns.{name}=COLUMN`" for name in missing)
        known = f"{named}; known are {column_names(row)} (map it with {mend})"
        raise ValueError(f"{', '.join(missing)}: there is no column {columns}{known}")

    def _absent(self, row: Row) -> list[str]:
        """The required fields whose column is missing."""
        names = dict.fromkeys(("input_text", "label", *self.columns))
        needed = [name for name in names if name not in row.own and self._is_needed(name)]
        return [name for name in needed if self._column(row, name) not in row.columns]

    def _is_needed(self, name: str) -> bool:
        if name == "rationale" or (name == "weight" and not self.weighs):  # rows without one are ordinary
            return False
        reads = name == "input_text" and "input_text" in self.template.variables
        is_label = name == "label" and not self.tasks
        is_named = name == "id" and name in self.named
        return reads or is_named or (self.labels_required and (is_label or name in self.columns))

    def _notice(self, example: Example) -> None:
        given = example.label.labels.values() if isinstance(example.label, ByTask) else (example.label,)
        labels = [part for label in given for part in (label if isinstance(label, tuple) else (label,))]
        texts = {"rationale": example.rationale, "text": example.input_text, "id": example.id, "group": example.group}
        for name, value in (*(("label", part) for part in labels), *texts.items()):
            if isinstance(value, str) and is_word_of_missing_data(value):
                self._missing[name, value] += 1
        if self.labels_required and self.weighs and not self._unread_weight:
            read = {*self.template.variables, *self.columns.values()}
            self._unread_weight = next(
                (column for column in _WEIGHTS if column in example.fields and column not in read), ""
            )


def no_label(tasks: Mapping[str, TaskSettings]) -> str:
    """The message for a row without a label of any task."""
    columns = ", ".join(f"{name} (column {shown(column_of(name, task))})" for name, task in tasks.items())
    return f"label: missing for every task ({columns}); give one, or leave the row out"


def is_word_of_missing_data(text: str) -> bool:
    """Whether a text is what programs write for missing data."""
    return len(text) < 8 and text.strip().casefold() in _MISSING


def _refuse_header(row: Row, mapped: Collection[str]) -> None:
    """Refuse a row whose values are the names of its columns, in any order: files joined with their headers.

    Args:
        row: The row.
        mapped: Names that count as column names even if there is no other column.
    """
    names, values = list(row.columns), list(row.columns.values())
    texts = [value.strip("\ufeff ") for value in values if isinstance(value, str)]
    if len(texts) < len(values) or (len(names) < 2 and not {*names} & {*mapped}):
        return
    if sorted(texts) == sorted(names):
        raise ValueError(
            "a repeated header; remove the line (files were concatenated with their headers), or add a header if the "
            "file has none"
        )
