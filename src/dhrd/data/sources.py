"""From what a config names (`superglue:cb`, `policy_desk:…`, `hub:…`, a file, a data set) to checked `Example`s."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from dhrd.config import DataSettings
from dhrd.data.classes import Classes
from dhrd.data.fields import MAX_PROBLEMS, check_characters, column_names, input_text, key, label, optional_text
from dhrd.data.policy_desk import LABELS, WORDS, PolicyDesk
from dhrd.data.readers import BadRow, Row, read_file
from dhrd.data.records import Example, LabelSet
from dhrd.data.superglue import TASKS, Task
from dhrd.data.templates import PLAIN, InputTemplate
from dhrd.errors import DataError

_FIELDS = ("input_text", "label", "rationale", "id", "group")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Rows that can be read, and what their origin knows of them.

    Args:
        name: What was asked for, for messages.
        read: Starts reading; may be called again.
        columns: Our field -> the row's column.
        default_id: Prefix of the ids of rows that have none.
        template: The config's input template, or the origin's own.
        own_labels: The origin's own label set, where it has one, or what finds it.
        label_separator: Splits a label's text into several.
        task: The SuperGLUE task, for its official metrics.
    """

    name: str
    read: Callable[[], Iterator[Row | BadRow]]
    columns: Mapping[str, str]
    default_id: str = "row"
    template: str = PLAIN
    own_labels: LabelSet | Callable[[], LabelSet | None] | None = None
    label_separator: str | None = None
    task: Task | None = None

    @property
    def labels(self) -> LabelSet | None:
        """The origin's own label set, where it has one."""
        return self.own_labels() if callable(self.own_labels) else self.own_labels

    def examples(self, *, labels_required: bool = True, limit: int | None = None) -> Iterator[Example]:
        """Read, check and yield the rows, in constant memory.

        At the first bad row yielding stops; reading goes on until ten bad rows are found, to report them together.

        Raises:
            DataError: One line a bad row: `file:line: field: what is wrong; how to mend it`.
        """
        problems: list[str] = []
        template = InputTemplate(self.template)
        for number, row in enumerate(islice(self.read(), limit)):
            found = self._check(row, number, labels_required, template)
            if isinstance(found, str):
                problems.append(found)
                if len(problems) == MAX_PROBLEMS:
                    problems.append("(there may be more)")
                    break
            elif not problems:
                yield found
        if problems:
            raise DataError("\n".join(problems))

    def load(self, *, labels_required: bool = True, limit: int | None = None) -> list[Example]:
        """All rows.

        Raises:
            DataError: As `examples`, or there is no row at all.
        """
        examples = list(self.examples(labels_required=labels_required, limit=limit))
        if not examples:
            raise DataError(f"{self.name}: no rows")
        return examples

    def _check(self, row: Row | BadRow, number: int, labels_required: bool, template: InputTemplate) -> Example | str:
        """The row as an `Example`, or what is wrong with it."""
        if isinstance(row, BadRow):
            return f"{row.where}: {row.problem}"
        values = {name: row.columns.get(self.columns.get(name, name)) for name in _FIELDS}
        # Rows without a rationale are ordinary, and files to evaluate or predict on have none.
        optional = {"rationale"} if labels_required else {"rationale", "label"}
        for name, column in self.columns.items():
            if column not in row.columns and name not in optional:
                known = f"which data.columns names; known are {column_names(row)}"
                return f"{row.where}: {name}: there is no column {column!r}, {known}"
        try:
            check_characters(row)
            example = Example(
                input_text=input_text(values["input_text"], row, required="input_text" in template.variables),
                label=label(values["label"], labels_required, row, self.label_separator),
                rationale=optional_text("rationale", values["rationale"]),
                id=key("id", values["id"]) or f"{self.default_id}-{number}",
                group=key("group", values["group"]),
                fields=row.columns,
                where=row.where,
            )
            template.render(example.columns(), where=row.where)
        except ValueError as error:
            return f"{row.where}: {error}"
        except DataError as error:
            return str(error)
        return example


def open_source(spec: Any, settings: DataSettings, *, split: str = "train") -> Source:
    """Find rows.

    Args:
        spec: `superglue:TASK`, `policy_desk:KEY=VALUE,…`, `hub:NAME[:CONFIG]`, a path, a `datasets.Dataset`, or an
            iterable of dicts or `Example`s.
        settings: Column names, template, the SuperGLUE folder.
        split: Which split of `superglue:`, `policy_desk:` and `hub:`.

    Raises:
        DataError: The spec names nothing that is there.
    """
    if isinstance(spec, str | Path):
        kind, _, rest = str(spec).partition(":")
        if kind == "superglue":
            source = _superglue(rest, split, settings)
        elif kind == "policy_desk":
            source = _policy_desk(rest, split)
        elif kind == "hub":
            source = _hub(rest, split, settings)
        else:
            source = _file(Path(spec), settings)
    elif hasattr(spec, "features") and hasattr(spec, "column_names"):
        source = _dataset(lambda: spec, f"the data set {spec.info.dataset_name or ''}".strip(), settings)
    elif isinstance(spec, Mapping):
        names = ", ".join(map(str, spec))
        raise DataError(f"the data set is a mapping of {names}; give one split of it, or a list of rows")
    else:
        source = Source(name="the given rows", read=lambda: _objects(spec), columns=settings.columns)
    template = source.template if settings.input_template == PLAIN else settings.input_template
    return replace(source, template=template, label_separator=settings.label_separator)


def _file(path: Path, settings: DataSettings) -> Source:
    classes = cache(lambda: Classes.of_file(path))
    return Source(
        name=str(path),
        read=lambda: classes().named(read_file(path)),
        columns=settings.columns,
        default_id=path.stem,
        own_labels=lambda: classes().label_set(settings.columns.get("label", "label")),
    )


def _objects(items: Iterable[Any]) -> Iterator[Row | BadRow]:
    for number, item in enumerate(items):
        where = f"row {number}"
        if isinstance(item, Example):
            own = {name: getattr(item, name) for name in ("rationale", "id", "group")}
            label = list(item.label) if isinstance(item.label, tuple) else item.label
            yield Row(item.where or where, {**item.columns(), **own, "label": label})
        elif isinstance(item, Mapping):
            yield Row(where, dict(item))
        elif isinstance(item, str):
            yield Row(where, {"input_text": item})
        else:
            yield BadRow(where, f"a row must be a text, a dict or an Example, got a {type(item).__name__}")


def _superglue(name: str, split: str, settings: DataSettings) -> Source:
    task = TASKS.get(name)
    if task is None:
        raise DataError(f"superglue:{name}: no such task; tasks are {', '.join(TASKS)}")
    if settings.superglue_root is None:
        where = f"superglue:{name}"
        read = _dataset(lambda: _hub_dataset("aps/super_glue", name, split), where, settings).read
    else:
        files = {"train": "train.jsonl", "validation": "val.jsonl", "test": "test.jsonl"}
        if split not in files:
            raise DataError(f"superglue:{name}: no split {split!r}; splits are {', '.join(files)}")
        path = Path(settings.superglue_root) / task.folder / files[split]
        if not path.is_file():
            raise DataError(f"{path}: no such file; data.superglue_root must hold {task.folder}/{files[split]}")
        read, where = (lambda: read_file(path)), str(path)
    return Source(
        name=where,
        read=lambda: _task_rows(task, read(), split),
        columns={},
        template=task.template,
        own_labels=LabelSet(task.labels, task.words),
        task=task,
    )


def _task_rows(task: Task, records: Iterator[Row | BadRow], split: str) -> Iterator[Row | BadRow]:
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


def _policy_desk(keys: str, split: str) -> Source:
    name, desk = f"policy_desk:{keys}", PolicyDesk.parse(keys)
    desk.generate(split)  # says at once that there is no such split

    def read() -> Iterator[Row | BadRow]:
        return (Row(f"{name}:{row['id']}", row) for row in desk.generate(split))

    return Source(name=name, read=read, columns={}, own_labels=LabelSet(LABELS, WORDS))


def _hub(name: str, split: str, settings: DataSettings) -> Source:
    dataset, _, config = name.partition(":")
    source = _dataset(lambda: _hub_dataset(dataset, config or None, split), f"hub:{name}", settings)
    return replace(source, default_id=split)


def _hub_dataset(name: str, config: str | None, split: str) -> Any:
    import datasets

    try:
        return datasets.load_dataset(name, config, split=split)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(
            f"hub:{name}: cannot be loaded ({reason}); check the name and the connection, or "
            "use local files (data.superglue_root for SuperGLUE)"
        ) from error


def _dataset(load: Callable[[], Any], name: str, settings: DataSettings) -> Source:
    """Rows of a `datasets.Dataset`; a `ClassLabel`'s names are the label set, in their own order."""
    dataset = cache(load)  # once, and not before it is read
    classes = cache(lambda: Classes.of_features(dataset().features))
    return Source(
        name=name,
        read=lambda: classes().named(Row(f"{name}:row {number}", row) for number, row in enumerate(dataset())),
        columns=settings.columns,
        own_labels=lambda: classes().label_set(settings.columns.get("label", "label")),
    )
