"""Rows of .jsonl and .json files, by the standard library's parser, which is lenient where rows would be lost:
a key that occurs twice, and commas too many or too few between the objects of a list, are refused here.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from dhrd._text import shown
from dhrd.data.row import BadRow, Row
from dhrd.errors import DataError

_MARKS = {codecs.BOM_UTF32_LE: 32, codecs.BOM_UTF32_BE: 32, codecs.BOM_UTF16_LE: 16, codecs.BOM_UTF16_BE: 16}
"""How files of other encodings begin; UTF-32's mark begins as UTF-16's does."""
_SPACE = re.compile(r"\s*")


def read_jsonl(file: BinaryIO, name: str) -> Iterator[Row | BadRow]:
    """The rows of a file of one object a line.

    Raises:
        DataError: The file is UTF-16 or UTF-32.
    """
    for number, raw in enumerate(file, 1):
        if number == 1:
            _refuse_wide(raw, name)
        where = f"{name}:{number}"
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            yield BadRow(where, not_utf8(error))
            continue
        if line.strip():
            yield _parse_line(line.rstrip("\r\n"), where)


def read_array(file: BinaryIO, name: str) -> Iterator[Row | BadRow]:
    """The rows of a file that is one list of objects.

    Raises:
        DataError: It is something else, or UTF-16 or UTF-32.
    """
    raw = file.read()
    _refuse_wide(raw, name)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        yield BadRow(f"{name}:{line}", not_utf8(error))
        return
    if not text.lstrip().startswith("["):
        raise DataError(f"{name}: a .json file must be an array of objects; for one object per line, name it .jsonl")
    yield from _elements(text, name)


def not_utf8(error: UnicodeDecodeError) -> str:
    """What is wrong with bytes that are no text."""
    return f"not valid UTF-8 at byte {error.start}; save the file as UTF-8"


def _refuse_wide(raw: bytes, name: str) -> None:
    for mark, num_bits in _MARKS.items():
        if raw.startswith(mark):
            raise DataError(f"{name}: the file is UTF-{num_bits}, not UTF-8; save it as UTF-8")


def _parse_line(text: str, where: str) -> Row | BadRow:
    try:
        return _as_row(_DECODER.decode(text), where)
    except json.JSONDecodeError as error:
        return BadRow(where, f"not valid JSON: {error.msg} at column {error.colno}; one object per line is expected")
    except (ValueError, RecursionError) as error:  # a key twice, an integer of thousands of digits, deep nesting
        return BadRow(where, f"not valid JSON: {error}")


def _elements(text: str, name: str) -> Iterator[Row | BadRow]:
    """The objects of a list, up to the first place that is not JSON."""
    at = text.index("[") + 1
    line, counted, is_first = text.count("\n", 0, at) + 1, at, True
    while True:
        at, problem = _next_element(text, at, is_first)
        line, counted = line + text.count("\n", counted, at), at
        where = f"{name}:{line}"
        if problem is not None:
            if problem:
                yield BadRow(where, problem)
            return
        try:
            value, at = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            yield BadRow(f"{name}:{error.lineno}", f"not valid JSON: {error.msg} at column {error.colno}; correct it")
            return
        except (ValueError, RecursionError) as error:
            yield BadRow(where, f"not valid JSON: {error}")
            return
        is_first = False
        yield _as_row(value, where)


def _next_element(text: str, at: int, is_first: bool) -> tuple[int, str | None]:
    """Where the next object begins and None; or where the list ends, or breaks, and what is wrong there ("": nothing).

    Between two objects there is one comma, and none before the first or after the last.
    """
    at = _after_space(text, at)
    if text[at : at + 1] == "]":
        rest = text[at + 1 :].strip()
        return at, f"text after the end of the array: {shown(rest, 24)}; a .json file is one array" if rest else ""
    if not is_first:
        if text[at : at + 1] != ",":
            return at, "not valid JSON: a ',' is missing between two objects, or the list does not end in ']'"
        at = _after_space(text, at + 1)
    if text[at : at + 1] in (",", "]"):
        return at, "not valid JSON: a ',' without an object after it; remove it"
    return at, None


def _after_space(text: str, at: int) -> int:
    gap = _SPACE.match(text, at)
    assert gap is not None
    return gap.end()


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose keys each occur once: an `object_pairs_hook`.

    Raises:
        ValueError: One occurs twice.
    """
    columns = dict(pairs)
    if len(columns) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"the key {shown(twice)} occurs twice in one object; keep one of the two")
    return columns


_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


def _as_row(value: object, where: str) -> Row | BadRow:
    if isinstance(value, dict):
        return Row(where, value)
    return BadRow(where, f'a row must be an object such as {{"input_text": …, "label": …}}, got {_kind(value)}')


def _kind(value: object) -> str:
    kinds = {str: "text", list: "a list", bool: "a boolean", int: "a number", float: "a number", type(None): "null"}
    return kinds.get(type(value), f"a {type(value).__name__}")
