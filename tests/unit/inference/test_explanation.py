"""What is written about a row goes beside its label, and says what it is."""

from __future__ import annotations

from dhrd.data.inputs import EncodedInput
from dhrd.inference.decoding import Decoded
from dhrd.inference.explanation import ABSTAINED_NOTE, EXPLANATION_NOTE, Explanation, explanations_of


def test_an_explanation_is_never_called_the_cause() -> None:
    explanation = Explanation("because", "a", "b", "text")
    assert explanation.note == EXPLANATION_NOTE
    assert "it is not the cause of the label" in explanation.note


def test_each_row_has_its_own() -> None:
    rows = [EncodedInput("first", [1]), EncodedInput("second", [2])]
    found = explanations_of(rows, [Decoded("because", "a", 3), Decoded("", None, 0)], ["b", "a"])
    assert found == [Explanation("because", "a", "b", "first"), Explanation("", None, "a", "second")]


def test_where_the_decision_abstained_the_note_speaks_of_no_label() -> None:
    (found,) = explanations_of([EncodedInput("first", [1])], [Decoded("because", "a", 3)], [None])
    assert (found.label, found.note) == (None, ABSTAINED_NOTE)
