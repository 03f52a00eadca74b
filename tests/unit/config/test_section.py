"""The kinds of values that all sections share."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dhrd.config.section import Count, FileName, LabelName, Part, Positive, Section, Seed, Share, Weight


class Numbers(Section):
    """One setting of each kind."""

    share: Share = 0.0
    weight: Weight = 0.0
    part: Part = 1.0
    positive: Positive = 1.0
    count: Count | None = None
    seed: Seed = 0
    name: LabelName = ""
    file: FileName = ""


@pytest.mark.parametrize("kind", ["share", "weight", "part", "positive", "count", "seed"])
@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_no_number(kind: str, value: bool) -> None:
    with pytest.raises(ValidationError, match="a boolean is no number"):
        Numbers(**{kind: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("share", 0, 1),
        ("weight", 0, -0.1),
        ("weight", 3, float("inf")),
        ("part", 1, 0),
        ("positive", 1e-9, 0),
        ("count", 1, 0),
        ("seed", 0, -1),
    ],
)
def test_numbers_have_bounds(kind: str, good: Any, bad: Any) -> None:
    assert getattr(Numbers(**{kind: good}), kind) == good
    with pytest.raises(ValidationError, match=kind):
        Numbers(**{kind: bad})


@pytest.mark.parametrize(("given", "name"), [(1, "1"), (2.0, "2"), ("1.0", "1.0"), (10**20, str(10**20))])
def test_a_whole_number_is_the_name_that_it_spells(given: Any, name: str) -> None:
    assert Numbers(name=given).name == name


@pytest.mark.parametrize("given", [True, 1.5, float("nan"), float("inf"), None])
def test_other_values_are_no_names(given: Any) -> None:
    with pytest.raises(ValidationError, match="string"):
        Numbers(name=given)


def test_sections_are_frozen_and_know_their_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    numbers = Numbers(file="~/rows.csv")
    assert numbers.file == "/home/me/rows.csv"
    with pytest.raises(ValidationError, match="frozen"):
        numbers.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Numbers(other=1)  # type: ignore[call-arg]
