"""Parsing and checking the address of an endpoint."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

_UNSENDABLE = re.compile(r"[\s\x00-\x1f\x7f<>\"{}|\\^`]")
_HOW = "write http://HOST:PORT/v1 or https://…"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed endpoint address.

    Args:
        url: Scheme, host, port and path, without the API's own `/chat/completions`.
        query: Query parameters to add to each request, such as Azure's `api-version`.
        has_user: Whether it contained a user name or password, which are never sent.
    """

    url: str
    query: tuple[tuple[str, str], ...] = ()
    has_user: bool = False


def parse_address(text: str) -> Address:
    """Parse an address.

    Args:
        text: A base URL; surrounding whitespace is ignored.

    Raises:
        ValueError: The address is invalid. The message does not quote an address that may contain a password.
    """
    text = text.strip()
    shown = "" if "@" in text or "?" in text else f"{text[:100]!r} "
    if _UNSENDABLE.search(text):
        raise ValueError(f"{shown}contains a space or another character not allowed in an address; {_HOW}")
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port is not None else ""
        host = _host(parts)
    except (ValueError, UnicodeError):
        raise ValueError(f"{shown}is not a valid address: its host or port cannot be parsed; {_HOW}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"{shown}is not a valid address; {_HOW}")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    query = tuple(parse_qsl(parts.query, keep_blank_values=True))
    return Address(f"{parts.scheme}://{host}{port}{path}", query, has_user="@" in parts.netloc)


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host.encode("idna").decode("ascii") if host else ""
