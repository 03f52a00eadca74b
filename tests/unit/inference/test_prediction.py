"""A row's label from its probabilities."""

from __future__ import annotations

import numpy as np

from dhrd.data.records import LabelSet
from dhrd.inference.prediction import Prediction, read_probabilities


def test_the_most_probable_label_and_the_first_of_equals() -> None:
    labels = LabelSet(("a", "b", "c"))
    label, named = read_probabilities(np.array([0.2, 0.5, 0.3]), labels)
    assert (label, named) == ("b", {"a": 0.2, "b": 0.5, "c": 0.3})
    assert all(type(value) is float for value in named.values())
    assert read_probabilities(np.array([0.4, 0.4, 0.2]), labels)[0] == "a"


def test_several_labels_are_those_at_one_half_or_more() -> None:
    tags = LabelSet(("a", "b", "c"), multi_label=True)
    assert read_probabilities(np.array([0.5, 0.49, 0.9]), tags)[0] == ["a", "c"]
    assert read_probabilities(np.array([0.1, 0.2, 0.3]), tags)[0] == []


def test_a_prediction_is_the_classifiers_unless_said_otherwise() -> None:
    prediction = Prediction("a", {"a": 1.0}, "text")
    assert (prediction.id, prediction.decided_by) == ("", "classifier")
