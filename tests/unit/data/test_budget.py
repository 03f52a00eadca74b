"""The budget of a rendering: by the row's size, which is measured only where it matters."""

from __future__ import annotations

import pytest

from dhrd.data import budget as room
from dhrd.data.budget import TooMuch, budget, charge, size_of
from dhrd.data.templates import InputTemplate


def test_a_small_row_has_a_million() -> None:
    with budget({"text": "a"}):
        charge(1_000_000)
        charge(20 * 6)  # the row: a mapping, the name and the text, with their characters
        with pytest.raises(TooMuch, match="far more than the row contains"):
            charge(100)


def test_a_large_row_has_twenty_times_its_size() -> None:
    with budget({"text": "a" * 100_000}):
        charge(3_000_000)
        with pytest.raises(TooMuch):
            charge(200)


def test_budgets_are_of_their_own() -> None:
    with budget({}):
        charge(900_000)
        with budget({}):
            charge(900_000)
        with pytest.raises(TooMuch):
            charge(900_000)


@pytest.mark.parametrize(
    ("value", "size"),
    [("abc", 4), (b"abc", 4), (5, 1), (1 << 800, 101), (["a", {"b": None}], 7), ({1, 2}, 3), (None, 1)],
)
def test_sizes(value: object, size: int) -> None:
    with budget({}):
        assert size_of(value) == size


def test_a_value_that_is_larger_than_what_is_left_is_not_walked_to_its_end() -> None:
    doubled: list[object] = [1]
    for _ in range(100):
        doubled = [doubled, doubled]
    with budget({"row": "a"}):
        assert 1_000_000 < size_of(doubled) < 1_100_000
        with pytest.raises(TooMuch):
            charge(size_of(doubled))


def test_a_row_is_measured_only_where_the_first_million_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[object] = []
    measure = room._measure
    monkeypatch.setattr(room, "_measure", lambda value, limit: measured.append(value) or measure(value, limit))
    row = {"input_text": "word " * 10_000}
    assert InputTemplate("Review: {{ input_text }}").render(row)
    assert not measured
    assert (
        len(InputTemplate("{% for n in [1, 2] %}" + "{{ input_text }}" * 12 + "{% endfor %}").render(row))
        == 24 * 50_000
    )
    assert measured.count(row) == 1
