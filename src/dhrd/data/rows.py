"""The rows of a run: read, joined with rationales, split, and checked to fit each other and the losses."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from dhrd._text import shown
from dhrd.config import RunConfig
from dhrd.config.tasks import column_of
from dhrd.data.digest import digest_of
from dhrd.data.fields import read_each
from dhrd.data.label_sets import check_label_set, infer_labels, label_doubts
from dhrd.data.label_space import of_task, with_label
from dhrd.data.rationales import join_rationales
from dhrd.data.records import Example, Label, LabelSet
from dhrd.data.source import Source
from dhrd.data.sources import named_rows, open_source
from dhrd.data.split import split_dev, split_fold
from dhrd.data.superglue import Task
from dhrd.data.tasks import check_labelled, infer_label_space
from dhrd.data.templates import InputTemplate
from dhrd.errors import ConfigError, DataError

logger = logging.getLogger("dhrd")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of a run.

    Args:
        train: Training rows.
        choose: Rows that choices are made on (best checkpoint, patience): dev if `dev_share` is set, else validation.
        validation: Rows that the reported metrics are computed on.
        choose_name: Where `choose` comes from, for `selected_on`.
        labels: The label set.
        template: The input template.
        task: The SuperGLUE task, if it is one.
        has_dev: Whether choices are made on rows split off train; validation is then evaluated once, at the end.
    """

    train: list[Example]
    choose: list[Example]
    validation: list[Example]
    choose_name: str
    labels: LabelSet
    template: str
    task: Task | None
    has_dev: bool = False

    def fold(self, which: int, num_folds: int, config: RunConfig) -> Rows:
        """Training rows without a fold, which takes the place of validation and of what choices are made on.

        Raises:
            DataError: A fold would be empty.
        """
        train, held_out = split_fold(self.train, which, num_folds, seed=config.seed)
        name = f"fold {which + 1} of {num_folds} of {config.data.train}"
        return replace(self, train=train, choose=held_out, validation=held_out, choose_name=name, has_dev=False)


def load_rows(config: RunConfig, train_dataset: Any = None, validation_dataset: Any = None) -> Rows:
    """Read all rows, join rationales, cut off dev, and check that labels and losses fit.

    Raises:
        DataError: A row is malformed; train and validation differ in their labels; no row has a rationale where the
            reasoning head needs one.
        ConfigError: There is no training data.
    """
    settings = config.data
    spec = train_dataset if train_dataset is not None else named_rows(settings)
    source = open_source(spec, settings, split="train", tasks=config.tasks)
    train = source.load(limit=settings.train_limit)
    if settings.rationales is not None:
        train = join_rationales(
            train,
            settings.rationales,
            config.tasks or (),
            columns=settings.columns,
            delimiter=settings.csv_delimiter,
        )
    check_labelled(train, config.tasks or {}, reads_rationales=config.loss.reads_rationales)
    labels = label_set(config, source, train)
    train = _with_names(train, labels, "train")
    _warn(config, source, train, labels)
    for task in labels.slices:
        _warn_of_two_labels(of_task(train, task.name))
    train = add_label_noise(_draw(train, config), labels, config.data.label_noise, config.seed)
    validation = _load_validation(config, validation_dataset, labels)
    check_rationales(config, train)
    choose, choose_name = validation, str(settings.validation)
    if settings.dev_share:
        train, choose = split_dev(train, settings.dev_share, config.seed)
        choose_name = f"{settings.dev_share} of {settings.train}"
    _check_weights(train)
    _warn_of_overlap(train, {"validation": validation, "dev_share": choose if settings.dev_share else []})
    return Rows(
        train=train,
        choose=choose,
        validation=validation,
        choose_name=choose_name,
        labels=labels,
        template=source.template,
        task=source.task,
        has_dev=bool(settings.dev_share),
    )


def _draw(train: list[Example], config: RunConfig) -> list[Example]:
    """The share of rows, and of rationales, that the config asks for."""
    settings = config.data
    if settings.train_share < 1:
        train = split_dev(train, settings.train_share, config.seed, setting="data.train_share")[1]
    if settings.rationale_share < 1:
        reasoned = [index for index, example in enumerate(train) if example.rationale]
        random.Random(f"rationales {config.seed}").shuffle(reasoned)
        without = set(reasoned[round(settings.rationale_share * len(reasoned)) :])
        train = [replace(e, rationale=None) if index in without else e for index, e in enumerate(train)]
    return train


def add_label_noise(train: list[Example], labels: LabelSet, share: float, seed: int) -> list[Example]:
    """Give a share of the rows a label drawn uniformly from all, including their own; all else is unchanged.

    Args:
        train: Training rows with labels by name.
        labels: The label set to draw from.
        share: Share of the rows. With the same seed, a larger share includes a smaller one's rows and labels.
        seed: Seed of the choice of rows and labels.

    Raises:
        ConfigError: Rows may have several labels.
    """
    if not share:
        return train
    if any(task.labels.multi_label for task in labels.slices):
        raise ConfigError("data.label_noise: not supported for rows with several labels; leave it out")
    noisy = list(train)
    for number, task in enumerate(labels.slices):
        rng = random.Random(f"label noise {seed}{f' {task.name}' * bool(number)}")
        order = [
            index for index, example in enumerate(train) if example.label is not None and task.is_in(example.label)
        ]
        rng.shuffle(order)
        drawn = order[: round(share * len(order))]
        for index in drawn:
            noisy[index] = with_label(noisy[index], task, rng.randrange(len(task.labels)))
        num_changed = sum(noisy[index].label != train[index].label for index in drawn)
        logger.info("label noise: %d of %d rows drawn, %d labels changed", len(drawn), len(order), num_changed)
    return noisy


def label_set(config: RunConfig, source: Source, examples: Sequence[Example]) -> LabelSet:
    """The label set: the config's, the source's, or what the rows show; with `tasks` those of all side by side."""
    if config.tasks:
        return infer_label_space(examples, config.tasks, source.own_labels)
    names = config.data.labels
    if names is None and source.labels is not None:
        if config.model.num_labels not in (None, len(source.labels)):
            raise DataError(
                f"model.num_labels is {config.model.num_labels}; {source.name} has {len(source.labels)} labels"
            )
        own = replace(source.labels, multi_label=source.labels.multi_label or config.data.multi_label)
        check_label_set(own)
        return own
    multi_label = config.data.multi_label
    return infer_labels(examples, names=names, num_labels=config.model.num_labels, multi_label=multi_label)


def _with_names(examples: Sequence[Example], labels: LabelSet, name: str) -> list[Example]:
    """The rows, their labels by name, whatever spelled them, and with their shares."""
    try:
        named = _each_row(examples, labels.named)
    except DataError as error:
        raise DataError(
            f"data.{name}: labels that do not occur in the training rows:\n{error}" if name != "train" else str(error)
        ) from error
    return [
        example
        if example.label is None or example.label == label
        else replace(example, label=label, shares=labels.shares(example.label, example.where))
        for example, label in zip(examples, named, strict=True)
    ]


def _warn(config: RunConfig, source: Source, train: Sequence[Example], labels: LabelSet) -> None:
    """Say what training on these labels would not."""
    for task in labels.slices:
        for doubt in label_doubts(of_task(train, task.name, task.columns), task.labels):
            logger.warning("%s%s", f"{task.name}: " * bool(task.name), doubt)
    own = [column_of(*task) for task in (config.tasks or {}).items()] or [source.columns.get("label", "label")]
    columns = InputTemplate(source.template).variables
    read = {source.columns.get(name, name) if name == "input_text" else name for name in columns}
    for column in own:
        if column in read and not source.task:
            logger.warning(
                "data.input_template reads %s, the label's own column, so the input gives the label away", shown(column)
            )


def _check_weights(train: Sequence[Example]) -> None:
    """Say how rows are weighed, where they are.

    Raises:
        DataError: They all weigh nothing.
    """
    low, high = min(example.weight for example in train), max(example.weight for example in train)
    if not high:
        raise DataError("weight: 0 in all training rows, so nothing is learned; give some rows more weight")
    if low != high:
        logger.info("weights of the training rows: %g to %g", low, high)


def _warn_of_two_labels(train: Sequence[Example]) -> None:
    """Say how many texts of the training rows have more than one label."""
    labels: dict[str, set[str]] = defaultdict(set)
    for example in train:
        labels[digest_of(example)].add(str(example.label))
    odd = {digest for digest, names in labels.items() if len(names) > 1}
    if odd:
        first = next(example for example in train if digest_of(example) in odd)
        logger.warning(
            "data.train: %d texts occur with more than one label (first: %s); correct or remove one of each",
            len(odd),
            first.where,
        )


def _warn_of_overlap(train: Sequence[Example], held_out: Mapping[str, Sequence[Example]]) -> None:
    """Say how many held-out rows, by the setting that they come from, were trained on."""
    trained = {digest_of(example) for example in train}
    for name, examples in held_out.items():
        known = sum(digest_of(example) in trained for example in examples)
        if known:
            logger.warning(
                "data.%s: %d of %d rows have the text of a training row, so the metrics are too optimistic",
                name,
                known,
                len(examples),
            )


def _load_validation(config: RunConfig, dataset: Any, labels: LabelSet) -> list[Example]:
    spec = dataset if dataset is not None else config.data.validation
    if spec is None:
        return []
    source = replace(open_source(spec, config.data, split="validation", tasks=config.tasks), weighs=False)
    examples = source.load(limit=config.data.validation_limit)
    check_labelled(examples, config.tasks or {}, reads_rationales=False)
    return _with_names(examples, labels, "validation")


def check_rationales(config: RunConfig, examples: Sequence[Example]) -> None:
    """Refuse rows without any rationale where a loss learns from them.

    Raises:
        DataError: There is none.
    """
    loss = config.loss
    if not loss.reads_rationales or config.data.rationale_mode == "label_only":
        return
    if any(example.rationale for example in examples):
        return
    weights = ", ".join(f"loss.{name}_weight" for name in loss.rationale_losses)
    alone = loss.rationale_losses == ("reasoning",)
    hint = " for the pooled baseline, or loss.lm_targets=input to learn from the inputs only" if alone else ""
    raise DataError(
        f"no training row has a rationale, so {weights} has nothing to learn from: add a rationale column or "
        f"data.rationales=FILE, set {weights.replace(',', '=0,')}=0{hint}"
    )


def encode_labels(examples: Sequence[Example], labels: LabelSet) -> np.ndarray:
    """(rows, C) of 0 and 1; of shares the likeliest.

    Raises:
        DataError: Up to ten rows whose label is unknown, missing, or of the wrong kind, a line each.
    """
    return multi_hot(_each_row(examples, labels.encode), len(labels))


def _each_row(examples: Sequence[Example], read: Callable[[Label, str], T]) -> list[T]:
    """What each row's label reads as; the first problems are reported together."""

    def of(example: Example) -> T:
        if example.label is None:
            raise DataError(f"{example.where}: label: missing")
        return read(example.label, example.where)

    return list(read_each(examples, of))


def label_mass(examples: Sequence[Example], labels: LabelSet) -> np.ndarray:
    """How many rows each label has, (C,), each row with its weight and in its label's shares."""
    label_BC = encode_labels(examples, labels).astype(float)
    for row, example in enumerate(examples):
        if example.shares is not None:
            label_BC[row] = example.shares
        label_BC[row] *= example.weight
    return label_BC.sum(0)


def multi_hot(indices: Sequence[tuple[int, ...]], num_labels: int) -> np.ndarray:
    """Class indices of each row as (rows, C) of 0 and 1."""
    result = np.zeros((len(indices), num_labels), dtype=np.int64)
    for row, chosen in enumerate(indices):
        result[row, list(chosen)] = 1
    return result


def one_hot(label_B: np.ndarray, num_labels: int) -> np.ndarray:
    """The class index of each row as (rows, C) of 0 and 1."""
    result = np.zeros((len(label_B), num_labels), dtype=np.int64)
    result[np.arange(len(label_B)), label_B] = 1
    return result
