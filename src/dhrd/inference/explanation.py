"""What the reasoning head writes about a row: beside the classifier's label, and never its cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dhrd.data.inputs import EncodedInput
from dhrd.inference.decoding import Decoded
from dhrd.inference.prediction import Answer

EXPLANATION_NOTE = (
    "The rationale illustrates what the model learned to write about such a text. The label comes from another head, "
    "which does not read it: it is not the cause of the label."
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the reasoning head writes about a row: an illustration, not the cause of the classifier's label.

    Args:
        rationale: What the reasoning head wrote before its answer.
        answer: The label that it named (a list for multi-label, and of several tasks), or None where its answer cannot
            be read.
        label: The classifier's own label, as in `Prediction`; it may be another one.
        text: The text as the model saw it.
        note: `EXPLANATION_NOTE`, for whoever is shown the rationale.
    """

    rationale: str
    answer: str | list[str] | None
    label: Answer
    text: str
    note: str = EXPLANATION_NOTE


def explanations_of(
    inputs: Sequence[EncodedInput], decoded: Sequence[Decoded], labels: Sequence[Answer]
) -> list[Explanation]:
    """What was written about rows, with the classifier's labels.

    Args:
        inputs: The rows, for their texts.
        decoded: What the reasoning head wrote about each.
        labels: The classifier's.
    """
    return [
        Explanation(written.rationale, written.label, label, item.text)
        for item, written, label in zip(inputs, decoded, labels, strict=True)
    ]
