"""The key and the address of an endpoint, checked before the first request."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.config import load_config
from dhrd.errors import ConfigError
from dhrd.rationales.teacher.access import access_of, without_quotations
from helpers.teacher import ask, saying, write_cases


@pytest.mark.parametrize(
    ("url", "is_openai"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://notopenai.com/v1", False),
        ("https://openai.com.example.org/v1", False),
        ("http://localhost/openai.com", False),
    ],
)
def test_t10_only_openai_is_openai(url: str, is_openai: bool) -> None:
    assert access_of(load_config(teacher__base_url=url).teacher).is_openai is is_openai


def test_t11_what_an_endpoint_says_itself_stays() -> None:
    said = "This model's maximum context length is 8192 tokens; your request has 9000"
    assert without_quotations(said, "a prompt about a model, and tokens of a length") == said
    assert (
        without_quotations("flagged for 'kill it' in: We will kill it", "We will kill it.") == "flagged for '…' in: …"
    )


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("OPENAI_API_KEY", "sk-se\ncret", "OPENAI_API_KEY: its character 6 of 10 is a line end or not ASCII"),
        ("OPENAI_API_KEY", "sk-sécret", "OPENAI_API_KEY: its character 5 of 9"),
        ("OPENAI_PROJECT_ID", "se\ncret", "OPENAI_PROJECT_ID: its character 3 of 7"),
        ("OPENAI_BASE_URL", "http://user:secret@h/v1", "OPENAI_BASE_URL contains a user or password; remove them"),
        ("OPENAI_BASE_URL", "http://[::1", r"OPENAI_BASE_URL 'http://\[::1' is not a valid address"),
        ("OPENAI_BASE_URL", "http://h:99999/v1", "OPENAI_BASE_URL 'http://h:99999/v1' is not a valid address"),
        ("OPENAI_BASE_URL", "localhost:8000/v1", "OPENAI_BASE_URL 'localhost:8000/v1' is not a valid address"),
        ("OPENAI_BASE_URL", "http://h ost/v1", "OPENAI_BASE_URL .* contains a space"),
        ("OPENAI_BASE_URL", "http://", "OPENAI_BASE_URL 'http://' is not a valid address"),
    ],
)
def test_t14_keys_and_addresses_are_checked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    monkeypatch.setenv(variable, value)
    with saying(lambda *_: None) as endpoint, pytest.raises(ConfigError, match=message) as caught:
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl", base_url=None)
    assert endpoint.num_requests == 0
    assert "cret" not in str(caught.value)


def test_t14_space_is_stripped_and_empty_is_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-x\r\n")
    with saying(lambda *_: None) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", f" {endpoint.url}/ \n")
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl", base_url=None)
    assert endpoint.headers[0]["authorization"] == "Bearer sk-x"
    monkeypatch.setenv("OPENAI_BASE_URL", "  ")
    assert access_of(load_config(teacher__base_url="").teacher).host == "api.openai.com"
    monkeypatch.setenv("OPENAI_API_KEY", "\n")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        access_of(load_config().teacher)
