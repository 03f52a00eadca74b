"""The settings of the rows: what they may be, and a tab by its name."""

from __future__ import annotations

import re

import pytest

from dhrd.config import resolve
from dhrd.errors import ConfigError


@pytest.mark.parametrize("spelled", ["tab", "\\t", "\t"])
def test_a_tab_has_a_name(spelled: str) -> None:
    assert resolve({"data": {"csv_delimiter": spelled}}).data.csv_delimiter == "\t"


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"data": {"columns": {"text": "body"}}}, "data.columns: unknown field 'text'"),
        ({"data": {"labels": ["a", "a"]}}, "needs at least two different names"),
        ({"data": {"labels": ["a"]}}, "needs at least two different names"),
        ({"data": {"labels": [True, False]}}, "data.labels.0: input should be a valid string, got True"),
        (
            {"data": {"max_input_tokens": 600, "max_sequence_tokens": 500}},
            "max_sequence_tokens (500) is smaller than max_input_tokens (600); the sequence includes the input",
        ),
        ({"data": {"dev_share": 1.0}}, "data.dev_share"),
        ({"data": {"csv_delimiter": '"'}}, "quotes and line ends cannot be delimiters"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(tree: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolve(tree)
