"""What must be equal for a run to go on, and how two runs are told apart."""

from __future__ import annotations

import pytest

from dhrd.config import resolve
from dhrd.training.identity import flat, identity, identity_differences


def test_places_and_trackers_decide_no_weight() -> None:
    one = resolve({"output_dir": "a", "tracking": {"report_to": "mlflow"}, "teacher": {"temperature": 0.5}})
    other = resolve({"output_dir": "b"})
    assert identity(one) == identity(other)
    assert {"model", "data", "loss", "training", "tasks", "seed"} == identity(one).keys()
    assert identity(resolve({"seed": 1})) != identity(other)


@pytest.mark.parametrize(
    ("theirs", "ours", "lines"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"b": {"c": 1}, "a": 2}, {"b": {"c": 2}, "a": 3}, ["a: 2 there, 3 now", "b.c: 1 there, 2 now"]),
        ({"lora": None}, {"lora": {"r": 2}}, ["lora: None there, {'r': 2} now"]),
        ({}, {"new": "x"}, ["new: None there, 'x' now"]),
        ({}, {"backbone's config": "x"}, []),
        ({"backbone's config": "y"}, {"backbone's config": "x"}, ["backbone's config: 'y' there, 'x' now"]),
        ({"rows": [1, 2]}, {"rows": [2, 1]}, ["the training rows"]),
    ],
)
def test_each_difference_is_a_phrase(theirs: object, ours: object, lines: list[str]) -> None:
    assert list(identity_differences(theirs, ours, "there")) == lines


def test_dotted_names() -> None:
    assert flat({"a": {"b": 1, "c": {"d": None}}, "e": [1]}) == {"a.b": 1, "a.c.d": None, "e": [1]}
