"""Explanations: rationales written by the reasoning head beside the classifier's label, never its cause."""

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

ABSTAINED_NOTE = (
    "The rationale illustrates what the model learned to write about such a text. It has no label beside it: the "
    "artifact's decision leaves this text to people."
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A rationale written by the reasoning head: an illustration, not the cause of the classifier's label.

    Args:
        rationale: The text before the answer.
        answer: The label named by the answer (a list for multi-label or several tasks); None if it cannot be parsed.
        label: The classifier's label, as in `Prediction`: None if the artifact's decision abstained. It may differ from
            `answer`, which a cascade would put in its place.
        text: The text as the model saw it.
        note: What to show with the rationale: `EXPLANATION_NOTE`, or `ABSTAINED_NOTE` where there is no label.
    """

    rationale: str
    answer: str | list[str] | None
    label: Answer | None
    text: str
    note: str = EXPLANATION_NOTE


def explanations_of(
    inputs: Sequence[EncodedInput], decoded: Sequence[Decoded], labels: Sequence[Answer | None]
) -> list[Explanation]:
    """Combine decoded rows with the classifier's labels.

    Args:
        inputs: The encoded rows, for their texts.
        decoded: The decoded rows.
        labels: The classifier's labels, None where the decision abstained.
    """
    return [
        Explanation(
            written.rationale, written.label, label, item.text, ABSTAINED_NOTE if label is None else EXPLANATION_NOTE
        )
        for item, written, label in zip(inputs, decoded, labels, strict=True)
    ]
