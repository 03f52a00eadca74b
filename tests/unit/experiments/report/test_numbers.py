"""How numbers are written."""

from __future__ import annotations

import pytest

from dhrd.experiments.report.numbers import FILTERS, points, points_range


@pytest.mark.parametrize(
    ("share", "text"), [(0.0213, "+2.1"), (-0.0213, "−2.1"), (0.0001, "0.0"), (-0.0001, "0.0"), (None, "–")]
)
def test_a_difference_has_its_sign_unless_it_is_none(share: float | None, text: str) -> None:
    assert points(share) == text


def test_an_interval_has_both_ends() -> None:
    assert points_range((-0.01, 0.02)) == "−1.0 to +2.0"
    assert points_range(None) == "–"


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("metric", (0.5, "accuracy"), "50.0"),
        ("metric", (0.5, "log_loss"), "0.500"),
        ("change", (-0.5, "log_loss"), "−0.500"),
        ("metric_range", ((0.5, 0.6), "accuracy"), "50.0 to 60.0"),
        ("percent", (0.123,), "12.3 %"),
        ("whole", (12345,), "12,345"),
        ("times", (1,), "1 ×"),
        ("rate", (0.0123,), "0.0123"),
        ("p", (0.0001,), "< 0.001"),
        ("duration", (3720,), "1 h 02 min"),
        ("duration", (61,), "1 min 01 s"),
        ("name", ("macro_f1",), "macro F1"),
        ("name", ("log_loss",), "log loss"),
        ("settings", ({"a.b": 1, "c": None},), "a.b 1, c –"),
        ("settings", ({},), "–"),
    ],
)
def test_a_filter_writes_its_unit(name: str, arguments: tuple[object, ...], text: str) -> None:
    assert FILTERS[name](*arguments) == text
