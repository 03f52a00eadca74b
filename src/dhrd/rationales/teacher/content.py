"""The content of a chat message, which may be any JSON value: text, parts of which some are text, or something else."""

from __future__ import annotations

import json
from dataclasses import dataclass

_THINKING = ("think", "reason", "thought")


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says.

    Args:
        text: Its text; if it is not text, the JSON as it came.
        refusal: The refusal among its parts.
        problem: Why `text` is not text.
    """

    text: str = ""
    refusal: str | None = None
    problem: str | None = None


def read_content(value: object) -> Content:
    """Join the parts of type text; leave thinking parts out."""
    if value is None or isinstance(value, str):
        return Content(value or "")
    parts = value if isinstance(value, list) else [value]
    told = [part for part in parts if not _is_thinking(part)]
    texts = [text for part in told if (text := _text(part)) is not None]
    refusals = [str(part["refusal"]) for part in told if isinstance(part, dict) and part.get("refusal")]
    if told and not texts and not refusals:
        return unreadable(value, "content")
    return Content("".join(texts), refusals[0] if refusals else None)


def unreadable(value: object, where: str) -> Content:
    """Content without text, kept as it came."""
    return Content(json.dumps(value), problem=f"{where} is a JSON {_KINDS.get(type(value), 'value')} without text")


_KINDS: dict[type, str] = {dict: "object", list: "list", bool: "truth value", int: "number", float: "number"}


def _is_thinking(part: object) -> bool:
    if not isinstance(part, dict):
        return False
    kind = str(part.get("type") or "").lower()
    return part.get("thought") is True or any(word in kind for word in _THINKING)


def _text(part: object) -> str | None:
    """The text of one part: a string, `{"type": "text", "text": …}`, `{"text": {"value": …}}`; None: it has none."""
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or "text" not in str(part.get("type") or "text").lower():
        return None
    text = part.get("text", part.get("content"))
    if isinstance(text, dict):
        text = text.get("value")
    return text if isinstance(text, str) else None
