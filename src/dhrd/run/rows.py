"""The rows that an artifact is evaluated, measured or run on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from dhrd._files import writing
from dhrd.artifact.info import MANIFEST, ArtifactInfo, read_info
from dhrd.config import DataSettings, RunConfig, resolve
from dhrd.config.section import check_count
from dhrd.config.tasks import TaskSettings
from dhrd.data.digest import digest_of
from dhrd.data.objects import numbered_rows
from dhrd.data.readers import is_read_once
from dhrd.data.records import Example, LabelSet
from dhrd.data.remote import local_path
from dhrd.data.rows import load_rows
from dhrd.data.source import Source
from dhrd.data.sources import open_source
from dhrd.errors import ConfigError, DataError, UserError
from dhrd.training.run_dir import read_run

logger = logging.getLogger("dhrd")

_MOST_TRAINED = 0.5  # of the rows may have a training row's text


def rows_of(
    model_dir: str | Path,
    data: Any = None,
    *,
    split: str = "validation",
    config: RunConfig | None = None,
    limit: int | None = None,
    labels_required: bool = True,
) -> list[Example]:
    """Rows for an artifact, as `evaluate` takes them; with `labels_required` all must have one.

    Raises:
        UserError: The artifact or the rows cannot be used.
    """
    source, limit = _source(model_dir, data, split, config, limit)
    return list(with_own_ids(source.load(limit=limit, labels_required=labels_required), source.name))


def each_row_of(
    model_dir: str | Path,
    data: Any = None,
    *,
    split: str = "validation",
    config: RunConfig | None = None,
    limit: int | None = None,
) -> Iterator[Example]:
    """Labelled rows for an artifact as `rows_of` takes them, one by one in constant memory.

    Raises:
        UserError: The artifact or a row cannot be used, or there is none.
    """
    source, limit = _source(model_dir, data, split, config, limit)
    examples = with_own_ids(source.examples(limit=limit), source.name)
    first = next(examples, None)
    if first is None:
        raise DataError(f"{source.name}: no rows")
    return chain([first], examples)


def with_own_ids(examples: Iterable[Example], name: str) -> Iterator[Example]:
    """The rows, each with an id of its own, by which two models' answers are compared: the second "a" is "a-2"."""
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
        logger.warning("%s: %d ids are there more than once; later rows have -2, -3 … after theirs", name, len(latest))


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
        _refuse_streams(config.data, split, mend="; give `data=SPEC`")
    if limit is None and data is None:
        limit = getattr(config.data, f"{split}_limit", None)
    if limit is not None:
        check_count("limit", limit)
    return open_rows(spec, split, config, read_info(model_dir)), limit


def open_rows(spec: Any, split: str, config: RunConfig, info: ArtifactInfo) -> Source:
    """A source of rows as an artifact's input template takes them."""
    settings = config.data.model_copy(update={"input_template": info.input_template})
    source = open_source(spec, settings, split=split, tasks=tasks_of(info, config.tasks))
    return replace(source, reads_rationales=False, has_model=True)


def settings_of(model_dir: str | Path) -> RunConfig:
    """The settings that rows are read by for an artifact: its run's, or without run.json its own columns.

    Raises:
        ArtifactError: The directory is no finished artifact.
        CheckpointError: run.json is damaged.
        ConfigError: The artifact names columns of fields that there are not.
    """
    directory = Path(model_dir).expanduser()
    if (config := read_run(directory)) is not None:
        return config
    return resolve({"data": {"columns": read_info(directory).columns}}, source=str(directory / MANIFEST))


def tasks_of(info: ArtifactInfo, given: Mapping[str, TaskSettings] | None) -> dict[str, TaskSettings]:
    """The settings of an artifact's tasks: the config's, or what it says itself; none of one task alone.

    Args:
        info: The artifact's.
        given: Of the config, where it has some.
    """
    own = {
        task.name: TaskSettings(column=info.task_columns.get(task.name), multi_label=task.labels.multi_label)
        for task in info.labels.slices
        if task.name
    }
    return own | {name: task for name, task in (given or {}).items() if name in own}


def as_source(examples: Sequence[Example], labels: LabelSet, *, like: Source) -> Source:
    """Checked rows as `train` reads rows again: by our names, with the places of their labels.

    Args:
        examples: With labels of the set, or shares of them.
        labels: The label set.
        like: Has the input template and the task.
    """
    rows = [
        example
        if example.shares is None
        else replace(example, label=dict(zip(labels.names, example.shares, strict=True)))
        for example in examples
    ]
    return replace(like, read=lambda: numbered_rows(rows, {}), columns={}, own_labels=lambda _: labels)


def held_out_rows(
    model_dir: str | Path, config: RunConfig | None = None, *, instead: str = "dev_data"
) -> list[Example]:
    """The rows that training held out of its own for choices.

    Args:
        model_dir: What `train` wrote.
        config: Where the rows are; None: as in training.
        instead: The argument that would give other rows, for messages.

    Raises:
        ConfigError: It held out none.
        UserError: They cannot be read any more.
    """
    config = config or settings_of(model_dir)
    if not config.data.dev_share:
        raise ConfigError(
            "a threshold is chosen on rows that the model was not trained on, and the run held out none: "
            f"give `{instead}=SPEC`, or train with data.dev_share"
        )
    _refuse_streams(config.data, *_LOADED, mend=f"; give `{instead}=SPEC`")
    return load_rows(config).choose


_LOADED = ("train", "validation", "rationales")
"""The settings of what `load_rows` reads."""


def _refuse_streams(settings: DataSettings, *names: str, mend: str = "") -> None:
    """Refuse to read a run's own rows again where they were a stream: what is in it now is another's.

    Raises:
        DataError: One of these settings is a stream.
    """
    for name in names:
        spec = getattr(settings, name)
        if spec is not None and is_read_once(Path(spec).expanduser()):
            raise DataError(f"data.{name} ({spec}) was a stream, which is read once{mend}")


def num_trained(model_dir: str | Path, digests: Iterable[str]) -> int:
    """How many of these rows have the text of a row that an artifact was trained on; 0, aloud, where nobody can tell.

    Args:
        model_dir: What `train` wrote.
        digests: Of the rows (`data/digest.py`).
    """
    config = read_run(Path(model_dir).expanduser())
    if config is None or config.data.train is None:
        return 0
    try:
        _refuse_streams(config.data, *_LOADED)
        trained = {digest_of(example) for example in load_rows(config).train}
    except UserError as error:
        logger.warning("whether these rows were trained on cannot be told: %s", error)
        return 0
    return sum(digest in trained for digest in digests)


def refuse_trained_rows(
    model_dir: str | Path, digests: Sequence[str], *, instead: str = "give rows that training did not see"
) -> None:
    """A model is surer and better on what it was trained on, so that such rows say nothing of new ones.

    Where new rows repeat training texts by themselves a few do so here too: these are told, and no more.

    Args:
        model_dir: What `train` wrote.
        digests: Of the rows.
        instead: How to mend it.

    Raises:
        DataError: Most of the rows were trained on.
    """
    known = num_trained(model_dir, digests)
    if known > _MOST_TRAINED * len(digests):
        raise DataError(
            f"{known} of the {len(digests)} rows were trained on, so they cannot show how the model does on new ones; "
            f"{instead}"
        )
    if known:
        logger.warning("%d of %d rows have the text of a training row; new ones may do worse", known, len(digests))


def check_same_rows(stamp: Path, *parts: Iterable[Example], more: str = "") -> None:
    """Note which rows a run is about, so that what is left of it after a kill is not taken for a run of others.

    Args:
        stamp: A file in the run's own directory.
        *parts: The rows, in their order.
        more: What else makes it another run.

    Raises:
        ConfigError: The run that was begun there was of others.
    """
    told = [[(e.id, digest_of(e), e.label, e.rationale, e.weight) for e in part] for part in parts]
    asked = hashlib.sha256(repr((more, told)).encode("utf-8", "replace")).hexdigest()
    if not stamp.is_file():
        with writing(stamp) as file:
            file.write(asked)
    elif stamp.read_text(encoding="utf-8") != asked:
        raise ConfigError(
            f"{stamp.parent}: what was begun there is of other rows or settings; give the same ones to go on, or "
            "remove it to begin anew"
        )


def tell_trained_file(model_dir: str | Path, data: object) -> None:
    """Say so where rows are the very file that an artifact was trained on: all that is known without reading it."""
    config = read_run(Path(model_dir).expanduser())
    if config is None or config.data.train is None or not isinstance(data, str | Path):
        return
    trained, given = (local_path(name) or Path(name).expanduser() for name in (config.data.train, data))
    if trained.is_file() and given.is_file() and trained.samefile(given):
        logger.warning("%s: the model was trained on these rows; new ones may do worse", data)
