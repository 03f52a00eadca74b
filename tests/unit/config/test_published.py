"""What of a run's settings may be written into files."""

from __future__ import annotations

import pytest

from dhrd.config import load_config
from dhrd.config.published import masked, published, recorded
from dhrd.errors import ConfigError


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=overrides)
    assert len(str(caught.value)) <= 300
    return str(caught.value)


ADDRESSES = {
    "https://ann:hush@host/v1": "https://***@host/v1",
    "https://ann@host/v1": "https://***@host/v1",
    "https://host/v1?key=hush": "https://host/v1?***",
    "https://host/v1#hush": "https://host/v1?***",
    "postgresql+psycopg2://a:p%40w@h:5432/db?sslpassword=hush": "postgresql+psycopg2://***@h:5432/db?***",
    "sqlite:///mlflow.db": "sqlite:///mlflow.db",
    "http://localhost:5000": "http://localhost:5000",
    "mails to ann@host": "mails to ann@host",
    "hub:org/name@v1": "hub:org/name@v1",
    "--set teacher.base_url=https://a:hush@h/v1": "--set teacher.base_url=https://***@h/v1",
}


@pytest.mark.parametrize(("text", "expected"), ADDRESSES.items())
def test_a3_addresses_lose_user_password_and_query(text: str, expected: str) -> None:
    """A3: what is written of an address, and only of an address; twice is as once."""
    assert masked(text) == expected
    assert masked(expected) == expected


def test_a3_a_password_with_a_slash() -> None:
    """A3: an endpoint may hold one that no address should."""
    assert masked("postgresql://ann:hu/sh@host/db", is_endpoint=True) == "postgresql://***@host/db"


@pytest.mark.parametrize("password", ["hu sh", "hu/sh", "hush 7/8"])
def test_a3_a_password_with_what_no_address_has(password: str) -> None:
    """A3: in the address of rows, too; a port and a revision are no password."""
    kept = published(load_config(data__train=f"https://ann:{password}@host/my rows.jsonl"))
    assert kept["data"]["train"] == "https://***@host/my rows.jsonl"  # type: ignore[index,call-overload]
    for plain in ("hf://datasets/a/b@main/rows.jsonl", "http://host:8080/rows@2.jsonl"):
        assert published(load_config(data__train=plain))["data"]["train"] == plain  # type: ignore[index,call-overload]


def test_a3_settings_for_files() -> None:
    """A3: checkpoints keep addresses without secrets; artifacts and trackers have neither section. Other text stays."""
    given = {"teacher__base_url": "https://ann:hush@host/v1", "tracking__uri": "http://h/?token=hush"}
    template = "see https://x.org/?q={{ input_text }} ann:pw@host"
    config = load_config(**given, data__input_template=template, data__train="https://ann:hush@host/t.csv?sig=hush")
    kept = recorded(config)
    assert (kept["teacher"]["base_url"], kept["tracking"]["uri"]) == ("https://***@host/v1", "http://h/?***")
    assert kept["data"]["input_template"] == template
    assert "hush" not in str(kept)
    assert {"teacher", "tracking"} & set(published(config)) == set()


def test_a3_errors_hide_secrets_too() -> None:
    """A3: what is wrong is shown, its password is not."""
    assert "hush" not in refusal("teacher.base_url=ftp://ann:hush@host")
    assert "hush" not in refusal("teacher.seed=https://ann:hush@host")
