"""What is written about a row goes beside its label, and says what it is."""

from __future__ import annotations

import pytest

from dhrd.data.inputs import EncodedInput
from dhrd.data.sequence import SequenceTemplate
from dhrd.inference.decoding import Decoded
from dhrd.inference.explanation import EXPLANATION_NOTE, LABEL_FIRST_NOTE, Explanation, explanations_of


def test_an_explanation_is_never_called_the_cause() -> None:
    explanation = Explanation("because", "a", "b", "text")
    assert explanation.note == EXPLANATION_NOTE
    assert "it is not the cause of the label" in explanation.note
    assert LABEL_FIRST_NOTE.startswith(EXPLANATION_NOTE)


@pytest.mark.parametrize(("order", "note"), [("reason_first", EXPLANATION_NOTE), ("label_first", LABEL_FIRST_NOTE)])
def test_the_note_says_which_came_first(order: str, note: str) -> None:
    sequence = SequenceTemplate(order=order)  # type: ignore[arg-type]
    (one,) = explanations_of([EncodedInput("text", [1])], [Decoded("because", "a", 3)], ["b"], sequence)
    assert one == Explanation("because", "a", "b", "text", note)
