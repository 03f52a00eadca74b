"""Predictions of the classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dhrd.artifact.info import ArtifactInfo
from dhrd.data.label_space import LabelSpace
from dhrd.data.records import Example, LabelSet

Row = str | Mapping[str, Any] | Example
"""A text, a dict with the template's columns, or an `Example`."""

Answer = str | list[str] | dict[str, Any]
"""A label; for multi-label a list of labels; for several tasks a dict of these by task."""

Rows = Any
"""One row, an iterable of rows, or a table: a DataFrame, a `datasets.Dataset`, a pyarrow table, a dict of lists."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The classifier's prediction for one row.

    Args:
        label: The label; for multi-label a list of those with p ≥ 0.5; for several tasks a dict of these by task; None
            if the artifact's decision abstained.
        probabilities: Probabilities of the classification head by label, or by `task/label` for several tasks.
        text: The text as the model saw it.
        id: The row's id, if it has one.
        decided_by: `classifier`, or `reasoning` if a cascade used the reasoning head and could parse its answer.
        label_set: The labels that the row may have, if the artifact's decision has label sets.
    """

    label: Answer | None
    probabilities: dict[str, float]
    text: str
    id: str = ""
    decided_by: Literal["classifier", "reasoning"] = "classifier"
    label_set: tuple[str, ...] | None = None

    @property
    def abstained(self) -> bool:
        """Whether the artifact's decision abstained on the row."""
        return self.label is None


def read_probabilities(probability_C: np.ndarray, labels: LabelSet) -> tuple[Answer, dict[str, float]]:
    """A row's label (for multi-label a list of those with p ≥ 0.5, for several tasks a dict by task) and the
    probability of each label."""
    named = dict(zip(labels.names, probability_C.tolist(), strict=True))
    if isinstance(labels, LabelSpace):
        return {t.name: read_probabilities(probability_C[t.columns], t.labels)[0] for t in labels.tasks}, named
    if labels.multi_label:
        return [name for name, probability in named.items() if probability >= 0.5], named
    return labels.names[int(probability_C.argmax())], named


def predictions_of(
    rows: Sequence[Row], texts: Iterable[str], probabilities_BC: np.ndarray, info: ArtifactInfo
) -> list[Prediction]:
    """Build predictions, applying the artifact's decision if it has one.

    Args:
        rows: The rows, for their ids.
        texts: The texts as the model saw them.
        probabilities_BC: Probabilities of the classification head.
        info: The artifact's info, with labels and decision.
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
