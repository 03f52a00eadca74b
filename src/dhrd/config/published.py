"""Settings made safe to write into files that may be shared: without passwords, tokens or endpoints."""

from __future__ import annotations

import re

from pydantic import JsonValue

from dhrd.config.schema import RunConfig

HIDDEN = "***"
UNPUBLISHED = ("tracking", "teacher")
"""Sections that name servers: in no artifact, and obeyed in none."""

_ENDPOINTS = (("tracking", "uri"), ("teacher", "base_url"))

_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
_ANY_USERINFO = re.compile(r"(?<=://)\S*@")  # a password may contain a slash, though a valid address may not
_PASSWORD = re.compile(r"(?<=://)[^/?#\s@:]+:(?!\d+(?:/|$))[^@]*@")  # with what an address cannot have, spaces too
_ADDRESS = re.compile(r"[\w+.:-]*://.*", re.DOTALL)  # a whole setting: an input template may contain an address
_QUERY = re.compile(r"(://[^?#\s]*)[?#]\S*")


def masked(text: str, *, is_endpoint: bool = False) -> str:
    """Hide the user, password and query of every address in a text.

    Args:
        text: A setting, an argument or a message.
        is_endpoint: Whether the text is a single endpoint, in which everything up to the last `@` is user and password.
    """
    pattern = _ANY_USERINFO if is_endpoint else _USERINFO
    return _QUERY.sub(rf"\1?{HIDDEN}", pattern.sub(f"{HIDDEN}@", text))


def recorded(config: RunConfig) -> dict[str, JsonValue]:
    """The settings for a checkpoint's run.json, from which a run is resumed; secrets are hidden."""
    tree = {name: _masked(value) for name, value in config.model_dump(mode="json").items()}
    for section, name in _ENDPOINTS:
        part = tree[section]
        assert isinstance(part, dict)
        if isinstance(address := part[name], str) and address:
            part[name] = masked(address, is_endpoint=True)
    return tree


def published(config: RunConfig) -> dict[str, JsonValue]:
    """The settings for artifacts and trackers: without the sections `tracking` and `teacher`, which name endpoints."""
    return {name: value for name, value in recorded(config).items() if name not in UNPUBLISHED}


def _masked(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return masked(_PASSWORD.sub(f"{HIDDEN}@", value)) if _ADDRESS.fullmatch(value) else value
    if isinstance(value, dict):
        return {key: _masked(part) for key, part in value.items()}
    return [_masked(part) for part in value] if isinstance(value, list) else value
