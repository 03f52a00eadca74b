"""What all sections of the settings share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dhrd.config.section import Count, FileName, LabelName, Part, Positive, Section, Seed, Share, Weight, check_count
from dhrd.errors import ConfigError


class Settings(Section):
    """A section."""

    names: tuple[LabelName, ...] = ()
    path: FileName = "x"
    """Where it is."""
    count: Count = 1


class Numbers(Section):
    """A number of each kind."""

    share: Share = 0.0
    weight: Weight = 0.0
    part: Part = 1.0
    positive: Positive = 1.0
    count: Count | None = None
    seed: Seed = 0


@pytest.mark.parametrize("kind", Numbers.model_fields)
@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_no_number(kind: str, value: bool) -> None:
    with pytest.raises(ValidationError, match="a boolean is not a number"):
        Numbers.model_validate({kind: value})


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
    assert getattr(Numbers.model_validate({kind: good}), kind) == good
    with pytest.raises(ValidationError, match=kind):
        Numbers.model_validate({kind: bad})


@pytest.mark.parametrize("value", [0, -1, 1.5, "8", True, None])
def test_an_argument_that_counts_is_a_whole_number(value: object) -> None:
    with pytest.raises(ConfigError, match="`limit`: give a whole number of at least 1"):
        check_count("limit", value)
    assert (check_count("limit", 0, least=0), check_count("limit", 3)) == (0, 3)


def test_a_label_is_the_text_that_an_integer_spells() -> None:
    assert Settings.model_validate({"names": [1, 2.0, "03"]}).names == ("1", "2", "03")


@pytest.mark.parametrize("name", [True, 0.5, float("nan"), float("inf"), None])
def test_what_spells_no_label_is_refused(name: object) -> None:
    with pytest.raises(ValidationError, match="valid string"):
        Settings.model_validate({"names": [name]})


def test_paths_begin_at_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings(path="~/a").path == str(tmp_path / "a")
    assert Settings(path="a~b").path == "a~b"


def test_sections_are_frozen_and_know_their_settings() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().count = 2  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings.model_validate({"counts": 1})
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Settings(count=0)
    assert Settings.model_fields["path"].description == "Where it is."
