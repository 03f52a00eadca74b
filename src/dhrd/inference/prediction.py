"""What the classifier says of a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dhrd.artifact.info import ArtifactInfo
from dhrd.data.label_space import LabelSpace
from dhrd.data.records import Example, LabelSet

Row = str | Mapping[str, Any] | Example
"""A text, a dict of the template's columns, or an `Example`."""

Answer = str | list[str] | dict[str, Any]
"""A label's name; for multi-label a list of names; of several tasks those of each, by its name."""

Rows = Any
"""One row, an iterable of rows, or a table: a DataFrame, a `datasets.Dataset`, a pyarrow table, a dict of lists."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the classifier says of one row.

    Args:
        label: A label's name, or the list of names with p ≥ 0.5 for multi-label; of several tasks those of each, by its
            name; None where the artifact's decision is to abstain.
        probabilities: Label -> probability, of the classification head; of several tasks `task/label` -> probability.
        text: The text as the model saw it.
        id: The row's id, where it has one.
        decided_by: `classifier`, or `reasoning` where a cascade asked the reasoning head and could read its answer.
        label_set: The labels that the row may have, where the artifact's decision has such sets.
    """

    label: Answer | None
    probabilities: dict[str, float]
    text: str
    id: str = ""
    decided_by: Literal["classifier", "reasoning"] = "classifier"
    label_set: tuple[str, ...] | None = None

    @property
    def abstained(self) -> bool:
        """Whether the artifact's decision leaves the row to someone else."""
        return self.label is None


def read_probabilities(probability_C: np.ndarray, labels: LabelSet) -> tuple[Answer, dict[str, float]]:
    """The label of a row, or the list of labels with p ≥ 0.5 for multi-label, and each label's probability; of several
    tasks the labels by task."""
    named = dict(zip(labels.names, probability_C.tolist(), strict=True))
    if isinstance(labels, LabelSpace):
        return {t.name: read_probabilities(probability_C[t.columns], t.labels)[0] for t in labels.tasks}, named
    if labels.multi_label:
        return [name for name, probability in named.items() if probability >= 0.5], named
    return labels.names[int(probability_C.argmax())], named


def predictions_of(
    rows: Sequence[Row], texts: Iterable[str], probabilities_BC: np.ndarray, info: ArtifactInfo
) -> list[Prediction]:
    """What the classifier says of rows, by the artifact's decision where it has one.

    Args:
        rows: For their ids.
        texts: As the model saw them.
        probabilities_BC: Of the classification head.
        info: The labels and the decision.
    """
    answered_B = info.answered(probabilities_BC)
    sets = info.decision.label_sets(probabilities_BC, info.labels.names) if info.decision else None
    predictions = []
    for index, (row, text) in enumerate(zip(rows, texts, strict=True)):
        label, named = read_probabilities(probabilities_BC[index], info.labels)
        predictions.append(
            Prediction(
                label if answered_B[index] else None,
                named,
                text,
                row.id if isinstance(row, Example) else "",
                label_set=tuple(sets[index]) if sets else None,
            )
        )
    return predictions
