"""The settings of who writes the rationales."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dhrd.config import load_config
from dhrd.errors import ConfigError
from helpers.endpoint import FaultyEndpoint
from helpers.teacher import teacher_config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"extra_body": {"messages": []}}, "messages is not allowed in extra_body"),
        ({"extra_body": {"n": 2}}, "n is not allowed in extra_body"),
        ({"extra_body": {"api_key": "sesame"}}, "api_key looks like a secret"),
        ({"extra_body": {"auth": [{"token": "sesame"}]}}, "token looks like a secret"),
        ({"extra_body": {"a": {"access_token": "sesame"}}}, "access_token looks like a secret"),
        ({"extra_headers": {"api-key": "sesame\nx"}}, "the value of api-key cannot be sent"),
        ({"extra_headers": {"api key": "sesame"}}, "header names may contain"),
        ({"extra_headers": "sesame"}, "extra_headers must be a mapping"),
    ],
)
def test_t16_what_cannot_be_sent_is_refused_and_not_shown(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(**{f"teacher__{name}": value for name, value in settings.items()})
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "gpt-5"}, "name 'gpt-5' is unknown; write openai:MODEL or local:MODEL_OR_PATH or self:DIR"),
        ({"name": "openai:"}, "name 'openai:' is unknown"),
        ({"max_cost": 1}, "max_cost needs input_price and output_price, per million tokens"),
        ({"samples": 2}, "samples above 1 needs label_hidden"),
        ({"samples": 2, "label_hidden": True, "temperature": 0}, "all samples would be the same; give a temperature"),
        ({"base_url": "localhost:80"}, "base_url 'localhost:80' is not a valid address; write http://HOST:PORT/v1"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        teacher_config(FaultyEndpoint(url="http://127.0.0.1:9/v1"), **settings)


def test_tokens_of_a_text_are_no_secrets() -> None:
    body = {"stop_token_ids": [1], "thinking": {"token_budget": 5}, "skip_special_tokens": False, "eos_token": "x"}
    assert load_config(teacher__extra_body=body).teacher.extra_body == body
