"""From what a config names (`superglue:cb`, `policy_desk:…`, `hub:…`, a file, a data set) to its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from dhrd._text import message_of
from dhrd.config import DataSettings, RunConfig
from dhrd.config.published import masked
from dhrd.config.tasks import TaskSettings
from dhrd.data.classes import Classes
from dhrd.data.objects import as_rows, is_dataset, numbered_rows
from dhrd.data.policy_desk import LABELS, REASONS, WORDS, PolicyDesk
from dhrd.data.readers import is_read_once, matching, read_file
from dhrd.data.records import LabelSet
from dhrd.data.remote import is_url, local_path, read_url
from dhrd.data.row import BadRow, Remarks, Row
from dhrd.data.source import Source
from dhrd.data.superglue import TASKS
from dhrd.data.superglue.records import task_rows
from dhrd.data.templates import PLAIN
from dhrd.errors import ConfigError, DataError


def open_source(
    spec: Any, settings: DataSettings, *, split: str = "train", tasks: Mapping[str, TaskSettings] | None = None
) -> Source:
    """Find rows.

    Args:
        spec: `superglue:TASK`, `policy_desk:KEY=VALUE,…`, `hub:NAME[:CONFIG]`, a path (`-`: standard input), an
            address of fsspec's (`s3://…`), a `datasets.Dataset`, a DataFrame or another table, or an iterable of texts,
            dicts or `Example`s. A `Source` is taken as it is.
        settings: Column names, template, the SuperGLUE folder.
        split: Which split of `superglue:`, `policy_desk:` and `hub:`.
        tasks: The config's tasks, if rows have labels of several.

    Raises:
        DataError: The spec names nothing that exists.
    """
    if isinstance(spec, Source):
        return spec
    if isinstance(spec, str | Path):
        kind, _, rest = str(spec).partition(":")
        if kind == "superglue":
            source = _superglue(rest, split, settings)
        elif kind == "policy_desk":
            source = _policy_desk(rest, split)
        elif kind == "hub":
            source = _hub(rest, split, settings)
        elif is_url(spec):
            source = _url(str(spec), settings)
        else:
            source = _file(spec, settings)
    elif is_dataset(spec):
        source = _dataset(lambda: spec, f"the data set {spec.info.dataset_name or ''}".strip(), settings)
    else:
        as_rows(spec)  # says at once that they are none
        source = Source(
            name="the given rows", read=lambda: numbered_rows(spec, settings.columns), columns=settings.columns
        )
    template = source.template if settings.input_template == PLAIN else settings.input_template
    return replace(source, template=template, label_separator=settings.label_separator, tasks=tasks or {})


def check_sources(config: RunConfig) -> None:
    """Refuse rows that are not there, or whose columns are others, before anything costs time.

    Raises:
        ConfigError: There are no training rows.
        DataError: What is named is not there, or its first row cannot be used.
    """
    data = config.data
    for spec, split in ((named_rows(data), "train"), (data.validation, "validation")):
        if spec is not None:
            open_source(spec, data, split=split, tasks=config.tasks).check()


def named_rows(settings: DataSettings) -> str:
    """What `data.train` names.

    Raises:
        ConfigError: It names nothing.
    """
    if settings.train is None:
        raise ConfigError("data.train is not set: give `data.train=FILE` (or superglue:TASK, hub:NAME)")
    return settings.train


def files_of_rows(spec: Any, settings: DataSettings) -> Iterator[Path]:
    """The files, or directories of them, that a spec of `open_source` names; none where it names none."""
    if isinstance(spec, list | tuple):
        for part in spec:
            yield from files_of_rows(part, settings)
    if not isinstance(spec, str | Path) or not str(spec):
        return
    kind, _, rest = str(spec).partition(":")
    if kind == "superglue" and settings.superglue_root is not None and rest in TASKS:
        yield Path(settings.superglue_root) / TASKS[rest].folder
    elif kind == "hub":
        yield Path(rest.partition(":")[0])  # a directory of that name goes before the hub's
    elif (path := local_path(spec) if is_url(spec) else Path(spec).expanduser()) is not None:
        yield from matching(path) or [path]


def is_elsewhere(spec: str, settings: DataSettings) -> bool:
    """Whether a spec of `open_source` names rows that are not on this machine."""
    kind, _, rest = spec.partition(":")
    if kind == "hub":
        return not Path(rest.partition(":")[0]).is_dir()
    if kind == "superglue":
        return settings.superglue_root is None
    return is_url(spec) and local_path(spec) is None


def files_of_settings(settings: DataSettings) -> Iterator[Path]:
    """The files that a run's own rows are read from."""
    for spec in (settings.train, settings.validation, settings.test):
        yield from files_of_rows(spec, settings)


def _url(url: str, settings: DataSettings) -> Source:
    remarks = Remarks()
    return Source(
        name=masked(url),
        read=lambda: read_url(url, delimiter=settings.csv_delimiter, remark=remarks),
        columns=settings.columns,
        remarks=remarks,
    )


def _file(spec: str | Path, settings: DataSettings) -> Source:
    path, remarks = Path(spec).expanduser(), Remarks()
    classes = cache(lambda: Classes.of_file(path))

    def read() -> Iterator[Row | BadRow]:
        return classes().named(read_file(path, delimiter=settings.csv_delimiter, remark=remarks))

    return Source(
        name=str(spec),
        read=_once(read, str(spec)) if is_read_once(path) else read,
        columns=settings.columns,
        own_labels=lambda column: classes().label_set(column),
        remarks=remarks,
    )


def _once(read: Callable[[], Iterator[Row | BadRow]], name: str) -> Callable[[], Iterator[Row | BadRow]]:
    """The same, but an error from the second time on, when a stream has no rows left."""
    readings = [read]

    def read_once() -> Iterator[Row | BadRow]:
        if not readings:
            raise DataError(
                f"{name}: a stream can be read only once, but this reads it several times; save it to a file first"
            )
        return readings.pop()()

    return read_once


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
            raise DataError(f"{path}: no such file; data.superglue_root must contain {task.folder}/{files[split]}")
        read, where = (lambda: read_file(path)), str(path)
    return Source(
        name=where,
        read=lambda: task_rows(task, read(), split),
        columns={},
        template=task.template,
        own_labels={"label": LabelSet(task.labels, task.words)}.get,
        task=task,
    )


def _policy_desk(keys: str, split: str) -> Source:
    name, desk = f"policy_desk:{keys}", PolicyDesk.parse(keys)
    desk.generate(split)  # says at once that there is no such split

    def read() -> Iterator[Row | BadRow]:
        return (Row(f"{name}:{row['id']}", row) for row in desk.generate(split))

    own_labels = {"label": LabelSet(LABELS, WORDS), "reason": LabelSet(REASONS)}.get
    return Source(name=name, read=read, columns={}, own_labels=own_labels)


def _hub(name: str, split: str, settings: DataSettings) -> Source:
    dataset, _, config = name.partition(":")
    if not dataset:
        raise ConfigError(f"hub:{name}: has no data set name; give hub:NAME, or hub:NAME:CONFIGURATION")
    return _dataset(lambda: _hub_dataset(dataset, config or None, split), f"hub:{name}", settings)


def _hub_dataset(name: str, config: str | None, split: str) -> Any:
    import datasets

    try:
        return datasets.load_dataset(name, config, split=split)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"hub:{name}: cannot be loaded ({message_of(error)}); check the name and the connection, or "
            "use local files (data.superglue_root for SuperGLUE)"
        ) from error


def _dataset(load: Callable[[], Any], name: str, settings: DataSettings) -> Source:
    """Rows of a `datasets.Dataset`; a `ClassLabel`'s names are the label set, in their own order."""
    dataset = cache(load)  # once, and not before it is read
    classes = cache(lambda: Classes.of_features(dataset().features))

    def read() -> Iterator[Row]:
        plain = dataset().with_format(None)  # in another format a row is made of arrays
        return (Row(f"{name}:row {number}", row) for number, row in enumerate(plain))

    return Source(
        name=name,
        read=lambda: classes().named(read()),
        columns=settings.columns,
        own_labels=lambda column: classes().label_set(column),
    )
