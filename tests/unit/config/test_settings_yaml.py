"""YAML of settings: numbers, text that looks like them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from dhrd.config.settings_yaml import YAML_ERRORS, SettingsDumper, SettingsLoader


def read(text: str) -> Any:
    return yaml.load(text, Loader=SettingsLoader)


@pytest.mark.parametrize(
    ("text", "value"),
    [("5e-5", 5e-5), ("-1", -1), ("010", "010"), ("1:30", "1:30"), ("1_0", "1_0"), ("1.5", 1.5), ("yes", True)],
)
def test_what_is_a_number_and_what_is_text(text: str, value: object) -> None:
    assert read(text) == value and type(read(text)) is type(value)


_TEXTS = [
    "1e3",
    "-2E5",
    "1_0e-3",
    "010",
    "1:30",
    "yes",
    "null",
    "~",
    "=",
    "<<",
    "1.5",
    "2024-01-01",
    "",
    " a",
    "#",
    "b\n",
]


@pytest.mark.parametrize("text", [*_TEXTS, "a\x85b", "a\u2028b\u2029"])
def test_text_is_written_as_it_is_read_back(text: str) -> None:
    for given in ({"a": text}, {text: 1e3}, [text, 1e-7, 10, True, None]):
        assert read(yaml.dump(given, Dumper=SettingsDumper, allow_unicode=True)) == given


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: 1\na: 2", "the key 'a' is given twice"), ("!!set {a}", "has no order"), ("[" * 5000, ""), ("{{a}}", "")],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(YAML_ERRORS) as error:
        read(text)
    assert message in str(getattr(error.value, "problem", ""))
