"""The settings of the losses, by name."""

from __future__ import annotations

import pytest

from dhrd.config import LossSettings
from dhrd.config.losses import LossName


@pytest.mark.parametrize(
    ("course", "scales"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("decay", [1, 0.8, 0.6, 0.4, 0.2]),
        ("rise", [0.2, 0.4, 0.6, 0.8, 1]),
        ("first_half", [1, 1, 1, 0, 0]),
        ("second_half", [0, 0, 0, 1, 1]),
    ],
)
@pytest.mark.parametrize("name", ["classification", "reasoning"])
def test_the_course_of_a_weight_over_the_updates(name: LossName, course: str, scales: list[float]) -> None:
    loss = LossSettings(**{f"{name}_weight": 3.0, f"{name}_schedule": course, "keyword_weight": 0.5})
    assert [loss.weight_at(name, step, 5) for step in range(1, 6)] == pytest.approx([3 * scale for scale in scales])
    assert {loss.weight_at("keyword", step, 5) for step in range(1, 6)} == {0.5}


def test_class_weights_are_null_a_word_or_a_map() -> None:
    assert LossSettings(class_weights="balanced").class_weights == "balanced"
    assert LossSettings(class_weights={"yes": 2.0}).class_weights == {"yes": 2.0}
