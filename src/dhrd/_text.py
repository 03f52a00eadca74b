"""Text that came from data, made fit for a terminal, a log and a message: bounded, and without control characters."""

from __future__ import annotations

import re
import reprlib
from typing import Any

LONGEST_VALUE = 100
"""Characters of a value that are shown in a message."""

LONGEST_LINE = 300
"""Characters of a line of a message."""

# C0 but newline and tab, DEL, C1, half surrogates, and what reorders or ends a line: `ESC]0;title` would reach the
# terminal, a right-to-left override would show a file name backwards.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escaped(text: str) -> str:
    """The text with control characters written as Python escapes; newline and tab stay."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def clipped(text: str, limit: int = LONGEST_LINE) -> str:
    """The text, its middle left out where it is longer than `limit` characters: both ends of a message matter."""
    if len(text) <= limit:
        return text
    end = limit // 3
    return f"{text[: limit - end - 3]} … {text[-end:]}"


def shown(value: Any, limit: int = LONGEST_VALUE) -> str:
    """A value for a message: its `repr` in at most `limit` characters, built without walking a large one to its end."""
    if isinstance(value, str):  # a slice first: the repr of 50 MB is 50 MB
        value = value if len(value) <= limit else f"{value[:limit]}…"
        return clipped(escaped(repr(value)), limit)
    return clipped(escaped(_bounded.repr(value)), limit)


def message_of(error: BaseException) -> str:
    """The first line of a library's error message, or the error's type if it has none."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def dhrd_command(name: str, **arguments: object) -> str:
    """A command line, for messages that suggest the next step: `dhrd train --checkpoint DIR`.

    Args:
        name: The command.
        **arguments: Arguments by their Python names; True: the flag alone.
    """
    flags = [
        f"--{argument.replace('_', '-')}" + ("" if value is True else f" {value}")
        for argument, value in arguments.items()
    ]
    return " ".join(["dhrd", name, *flags])


_bounded = reprlib.Repr()
_bounded.maxstring = _bounded.maxother = _bounded.maxlong = LONGEST_VALUE
