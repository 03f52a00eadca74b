"""Words and sentences of a text, as the checks of the audit see them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dhrd.data.records import Example

_IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # written without spaces: a character is a word
_WORD = re.compile(rf"[{_IDEOGRAPH}]|[^\W_{_IDEOGRAPH}]+(?:['’][^\W_{_IDEOGRAPH}]+)*")
_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[^\W\d_a-z])")
_NOT_TEXT = {"id", "group", "label", "rationale", "weight", "idx", "version"}


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return [match.group().replace("’", "'") for match in _WORD.finditer(text.lower())]


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Where the sentences of a text begin and end, in characters."""
    start = 0
    for match in _SENTENCE.finditer(text):
        yield start, match.start()
        start = match.end()
    if text[start:].strip():
        yield start, len(text)


def input_of(example: Example) -> str:
    """What a row says, without its label: every column of text or of a number.

    Not the rendered template: its own words ("entailment, contradiction or neutral?") are no part of the row.
    """
    columns = example.columns()
    return "\n".join(
        str(value)
        for name, value in columns.items()
        if name not in _NOT_TEXT and isinstance(value, str | int | float) and not isinstance(value, bool)
    )
