"""The label set behind a DataLoader, which must be the model's: what counts otherwise is a label's place alone."""

from __future__ import annotations

from collections.abc import Iterable

from torch.utils.data import Subset

from dhrd.data.label_names import listed
from dhrd.data.records import Batch, LabelSet
from dhrd.errors import DataError

_WAY_OUT = "read every file with load_json_dataset(…, labels=train_dataset.labels)"


def labels_of(loader: Iterable[Batch]) -> LabelSet | None:
    """The label set of a loader's data set, or of the data set that it is a subset of; None: it has none."""
    data = getattr(loader, "dataset", None)
    while isinstance(data, Subset):
        data = data.dataset
    return getattr(data, "labels", None)


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


def _told(labels: LabelSet) -> str:
    return f"the labels {listed(labels.names)}" + " (several a row)" * labels.multi_label
