"""What lies behind a DataLoader: its label set and losses, which must be the model's, and its rows' groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, repeat
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, DataLoader, Subset

from dhrd.compat.dataset import DHRDDataset
from dhrd.config import LossSettings
from dhrd.data.label_names import listed
from dhrd.data.records import Batch, EncodedExample, LabelSet
from dhrd.errors import ConfigError, DataError
from dhrd.metrics.outcomes import groups_if_any

_WAY_OUT = "read every file with load_json_dataset(…, labels=train_dataset.labels)"


def labels_of(loader: Iterable[Batch]) -> LabelSet | None:
    """The label set of a loader's data sets, under any subsets and concatenations; None: they have none.

    Raises:
        DataError: They have different ones, or only some have any.
    """
    given = [getattr(data, "labels", None) for data in _data_of(loader)]
    first, *others = [labels if isinstance(labels, LabelSet) else None for labels in given]
    if other := next((labels for labels in others if _alike(labels) != _alike(first)), None):
        raise DataError(f"the loader's data sets have {_told(first)} and {_told(other)}; {_WAY_OUT}")
    return first


def _alike(labels: LabelSet | None) -> object:
    return labels and (labels.names, labels.multi_label)


def _data_of(loader: Iterable[Batch]) -> list[object]:
    """The data sets that a loader's is made of."""
    return list(_parts(getattr(loader, "dataset", None)))


def _parts(data: object) -> Iterator[object]:
    if isinstance(data, Subset):
        yield from _parts(data.dataset)
    elif isinstance(data, ConcatDataset):
        for part in data.datasets:
            yield from _parts(part)
    else:
        yield data


def _is_ours(loader: Iterable[Batch]) -> bool:
    return all(isinstance(data, DHRDDataset) for data in _data_of(loader))


def label_mass_of(loader: DataLoader[Any], num_labels: int) -> np.ndarray:
    """How many rows of `DHRDDataset`s, their subsets or concatenations, each label has, (C,), each row with its weight.

    Raises:
        ConfigError: It is another data set.
    """
    if not _is_ours(loader):
        raise ConfigError("loss.class_weights: balanced counts the rows of load_json_dataset; give weights by name")
    mass_C = np.zeros(num_labels)
    for row in _rows_of(loader):
        if row.shares is not None:
            mass_C += np.array(row.shares) * row.weight
        else:
            mass_C[list(row.label)] += row.weight
    return mass_C


def groups_of_ids(loader: Iterable[Batch], ids: Sequence[str]) -> list[str | None] | None:
    """The group of each row that a loader gave, in the order given, which a sampler may have chosen.

    Rows of one id take its groups in turn: unless they are shuffled, each has its own.

    Returns:
        None if no row has a group, or the loader's data set is not made of `DHRDDataset`s.
    """
    if not _is_ours(loader):
        return None
    groups: dict[str, list[str | None]] = {}
    for row in _rows_of(loader):
        groups.setdefault(row.id, []).append(row.group)
    in_turn = {row_id: cycle(own) for row_id, own in groups.items()}
    return groups_if_any(next(in_turn.get(row_id, repeat(None))) for row_id in ids)


def _rows_of(loader: Iterable[Batch]) -> Iterator[EncodedExample]:
    data = loader.dataset  # type: ignore[attr-defined]
    return (data[index] for index in range(len(data)))


def check_losses(loader: Iterable[Batch], loss: LossSettings) -> None:
    """Refuse rows that lack what a loss of the model learns: it would be 0, or another one.

    Raises:
        DataError: They were encoded for other losses.
    """
    for data in _data_of(loader):
        if isinstance(data, DHRDDataset):
            _check_losses(data.loss, loss)


def _check_losses(own: LossSettings, loss: LossSettings) -> None:
    continues = "privileged_weight" if loss.privileged_weight else "reasoning_weight"
    lacking = {
        f"loss.lm_targets: {loss.lm_targets}": loss.reasoning_weight and loss.lm_targets != own.lm_targets,
        "loss.keyword_weight": loss.keyword_weight and not own.keyword_weight,
        f"loss.{continues}": loss.runs_continuation and not own.runs_continuation,
    }
    if names := [name for name, lacks in lacking.items() if lacks]:
        raise DataError(
            f"the training rows were not encoded for the model's {', '.join(names)}; read them with "
            "load_json_dataset(…, loss=model.loss_settings)"
        )


def check_labels(loader: Iterable[Batch], num_labels: int, trained: LabelSet | None) -> None:
    """Refuse a loader of other labels than those of training, or of another number than the model's.

    Raises:
        DataError: The label sets differ, or their number does.
    """
    labels = labels_of(loader)
    if labels is None:
        return
    if trained is not None and (labels.names, labels.multi_label) != (trained.names, trained.multi_label):
        raise DataError(f"the rows have {_told(labels)}, but those of training {_told(trained)}; {_WAY_OUT}")
    if len(labels) != num_labels:
        raise DataError(
            f"the rows have {_told(labels)}, but the model has {num_labels} labels; {_WAY_OUT}, or make the model with "
            f"num_labels={len(labels)}"
        )


def check_batch(batch: Batch, num_labels: int) -> None:
    """The same of a batch of unknown labels.

    Raises:
        DataError: It has no labels, or of another number.
    """
    if batch.label_BC is None:
        raise DataError("the batches have no labels; collate them with num_labels")
    if (own := batch.label_BC.shape[1]) != num_labels:
        raise DataError(f"the batches have {own} labels, but the model {num_labels}; {_WAY_OUT}")


def _told(labels: LabelSet | None) -> str:
    if labels is None:
        return "unknown labels"
    return f"the labels {listed(labels.names)}" + " (several a row)" * labels.multi_label
