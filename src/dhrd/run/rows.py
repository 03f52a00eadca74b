"""Rows to evaluate, benchmark or run an artifact on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from dhrd._files import writing
from dhrd.artifact.info import MANIFEST, ArtifactInfo, read_info
from dhrd.config import DataSettings, RunConfig, resolve
from dhrd.config.section import check_count
from dhrd.config.tasks import TaskSettings
from dhrd.data.digest import exact_digest
from dhrd.data.objects import numbered_rows
from dhrd.data.readers import is_read_once
from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import encode_labels
from dhrd.data.source import Source
from dhrd.data.sources import open_source
from dhrd.errors import ConfigError, DataError
from dhrd.training.run_dir import read_run

logger = logging.getLogger("dhrd")


def rows_of(
    model_dir: str | Path,
    data: Any = None,
    *,
    split: str = "validation",
    config: RunConfig | None = None,
    limit: int | None = None,
    labels_required: bool | None = True,
) -> list[Example]:
    """Load rows for an artifact; see `evaluate` for the other arguments.

    Args:
        labels_required: Whether rows must have a label, else none is read; None: all have one, or none is read.

    Raises:
        UserError: The artifact or the rows cannot be used.
    """
    source, limit = _source(model_dir, data, split, config, limit)
    if labels_required is None:
        rows = list(islice(source.read(), limit))  # once: it may be a stream
        source = replace(source, read=lambda: iter(rows))
        labels_required = _are_labelled(source, read_info(model_dir).labels)
    return list(with_own_ids(source.load(limit=limit, labels_required=labels_required), source.name))


def _are_labelled(source: Source, labels: LabelSet) -> bool:
    """Whether all rows have a label of the set."""
    try:
        encode_labels(source.load(), labels)
    except DataError as error:
        logger.info("labels are not read: %s", str(error).partition("\n")[0])
        return False
    return True


def each_row_of(
    model_dir: str | Path,
    data: Any = None,
    *,
    split: str = "validation",
    config: RunConfig | None = None,
    limit: int | None = None,
) -> Iterator[Example]:
    """Yield labelled rows for an artifact one by one, in constant memory; see `rows_of`.

    Raises:
        UserError: The artifact or a row cannot be used, or there are no rows.
    """
    source, limit = _source(model_dir, data, split, config, limit)
    examples = with_own_ids(source.examples(limit=limit), source.name)
    first = next(examples, None)
    if first is None:
        raise DataError(f"{source.name}: no rows")
    return chain([first], examples)


def with_own_ids(examples: Iterable[Example], name: str) -> Iterator[Example]:
    """Make ids unique, for comparing models by row: the second "a" becomes "a-2"."""
    taken: set[str] = set()
    latest: dict[str, int] = {}
    for example in examples:
        row_id = example.id
        while row_id in taken:
            latest[example.id] = latest.get(example.id, 1) + 1
            row_id = f"{example.id}-{latest[example.id]}"
        taken.add(row_id)
        yield example if row_id == example.id else replace(example, id=row_id)
    if latest:
        logger.warning("%s: %d ids occur more than once; -2, -3 … is appended to the later ones", name, len(latest))


def _source(
    model_dir: str | Path, data: Any, split: str, config: RunConfig | None, limit: int | None
) -> tuple[Source, int | None]:
    config = config or settings_of(model_dir)
    if data is None and split not in ("train", "validation", "test"):
        raise ConfigError(f"`split` {split}: unknown; the run has train, validation and test")
    spec = data if data is not None else getattr(config.data, split)
    if spec is None:
        raise ConfigError(f"no rows to evaluate: give `data=SPEC`, or set data.{split}")
    if data is None:
        refuse_streams(config.data, split, mend="; give `data=SPEC`")
    if limit is None and data is None:
        limit = getattr(config.data, f"{split}_limit", None)
    if limit is not None:
        check_count("limit", limit)
    return open_rows(spec, split, config, read_info(model_dir)), limit


def open_rows(spec: Any, split: str, config: RunConfig, info: ArtifactInfo) -> Source:
    """Open a source of rows for an artifact's input template."""
    settings = config.data.model_copy(update={"input_template": info.input_template})
    source = open_source(spec, settings, split=split, tasks=tasks_of(info, config.tasks))
    named = {name for name, column in source.columns.items() if column not in (name, info.columns.get(name))}
    return replace(source, reads_rationales=False, weighs=False, has_model=True, named=frozenset(named))


def settings_of(model_dir: str | Path) -> RunConfig:
    """The settings for reading an artifact's rows: its run's or, without run.json, those that it records.

    Raises:
        ArtifactError: The directory is not a finished artifact.
        CheckpointError: run.json is damaged.
        ConfigError: The artifact names columns of unknown fields.
    """
    directory = Path(model_dir).expanduser()
    if (config := read_run(directory)) is not None:
        return config
    info = read_info(directory)
    data = {"columns": info.columns, "label_separator": info.label_separator}
    return resolve({"data": data}, source=str(directory / MANIFEST))


def tasks_of(info: ArtifactInfo, given: Mapping[str, TaskSettings] | None) -> dict[str, TaskSettings]:
    """The settings of an artifact's tasks: the config's, or those that it records; empty for a single task.

    Args:
        info: The artifact's info.
        given: The config's tasks, if any.
    """
    own = {
        task.name: TaskSettings(column=info.task_columns.get(task.name), multi_label=task.labels.multi_label)
        for task in info.labels.slices
        if task.name
    }
    return own | {name: task for name, task in (given or {}).items() if name in own}


def as_source(examples: Sequence[Example], labels: LabelSet, *, like: Source) -> Source:
    """Wrap examples as a source that `train` can read.

    Args:
        examples: Rows with labels of the set, or shares of them.
        labels: The label set.
        like: The source from which to take the columns, the input template and the task.
    """
    rows = [
        example
        if example.shares is None
        else replace(example, label=dict(zip(labels.names, example.shares, strict=True)), shares=None)
        for example in examples
    ]
    return replace(like, read=lambda: numbered_rows(rows, like.columns), own_labels=lambda _: labels)


def refuse_streams(settings: DataSettings, *names: str, mend: str = "") -> None:
    """Refuse to read a run's own rows again where they were a stream: what is in it now is another's.

    Raises:
        DataError: One of these settings is a stream.
    """
    for name in names:
        spec = getattr(settings, name)
        if spec is not None and is_read_once(Path(spec).expanduser()):
            raise DataError(f"data.{name} ({spec}) was a stream, which is read once{mend}")


def check_same_rows(stamp: Path, *parts: Iterable[Example], more: str = "") -> None:
    """Record which rows a run uses, so that an interrupted run is not resumed with other rows.

    Args:
        stamp: A file in the run's directory.
        *parts: The rows, in order.
        more: What else identifies the run.

    Raises:
        ConfigError: The run started there used others.
    """
    told = [[(e.id, exact_digest(e), e.label, e.rationale, e.weight) for e in part] for part in parts]
    asked = hashlib.sha256(repr((more, told)).encode("utf-8", "replace")).hexdigest()
    if not stamp.is_file():
        with writing(stamp) as file:
            file.write(asked)
    elif stamp.read_text(encoding="utf-8") != asked:
        raise ConfigError(
            f"{stamp.parent}: the run started there has other rows or settings; give the same ones to continue, or "
            "remove it to start over"
        )
