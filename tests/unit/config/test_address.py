"""The address of an endpoint, checked before anything is sent there."""

from __future__ import annotations

import re

import pytest

from dhrd.config import load_config
from dhrd.errors import ConfigError


@pytest.mark.parametrize(
    ("base_url", "message"),
    [
        ("http://[::1", "teacher.base_url: base_url 'http://[::1' is not a valid address"),
        ("http://h/v1\nx", "contains a space or another character"),
    ],
)
def test_t14_an_address_among_the_settings(base_url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message.partition(": ")[2] or message)) as caught:
        load_config(teacher__base_url=base_url)
    assert "secret" not in str(caught.value)
