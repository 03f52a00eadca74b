"""What of a run's settings may be written into files, which travel: no password, no token, no endpoint."""

from __future__ import annotations

import re

from pydantic import JsonValue

from dhrd.config.schema import RunConfig

HIDDEN = "***"
_ENDPOINTS = (("tracking", "uri"), ("teacher", "base_url"))

_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
_ANY_USERINFO = re.compile(r"(?<=://)\S*@")  # a password may hold a slash, which an address would not take
_ADDRESS = re.compile(r"[\w+.:-]*://\S*")  # all of a setting: an input template may well hold one
_QUERY = re.compile(r"(://[^?#\s]*)[?#]\S*")


def masked(text: str, *, is_endpoint: bool = False) -> str:
    """A text with user, password and query of each address in it hidden.

    Args:
        text: A setting, an argument, a message.
        is_endpoint: Whether it is one address, in which every `@` ends user and password; a path may hold one.
    """
    pattern = _ANY_USERINFO if is_endpoint else _USERINFO
    return _QUERY.sub(rf"\1?{HIDDEN}", pattern.sub(f"{HIDDEN}@", text))


def recorded(config: RunConfig) -> dict[str, JsonValue]:
    """The settings for the checkpoints' run.json, from which a run goes on; secrets are hidden."""
    tree = {name: _masked(value) for name, value in config.model_dump(mode="json").items()}
    for section, name in _ENDPOINTS:
        part = tree[section]
        assert isinstance(part, dict)
        if isinstance(address := part[name], str) and address:
            part[name] = masked(address, is_endpoint=True)
    return tree


def published(config: RunConfig) -> dict[str, JsonValue]:
    """The settings for an artifact and for trackers: without the sections that name endpoints and decide no weight."""
    return {name: value for name, value in recorded(config).items() if name not in ("tracking", "teacher")}


def _masked(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return masked(value) if _ADDRESS.fullmatch(value) else value
    if isinstance(value, dict):
        return {key: _masked(part) for key, part in value.items()}
    return [_masked(part) for part in value] if isinstance(value, list) else value
