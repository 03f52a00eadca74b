"""From a file to rows, one at a time, each with its place in the file.

JSON, JSONL and CSV are read by the standard library: type-guessing readers take `001` for 1 and cannot name the bad
row. A reader never stops at a bad row: it yields a `BadRow`, so that several can be reported together.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from dhrd.errors import DataError


@dataclass(frozen=True, slots=True)
class Row:
    """The columns of one row and its place, `file:line`."""

    where: str
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A place that is not a row, and why."""

    where: str
    problem: str


def read_file(path: Path) -> Iterator[Row | BadRow]:
    """The rows of a .json, .jsonl, .csv, .tsv or .parquet file, streaming all but .json.

    Raises:
        DataError: The file is missing, of another kind, or unreadable as a whole.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown kind of file; use one of {', '.join(sorted(_READERS))}")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        yield from reader(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_jsonl(path: Path) -> Iterator[Row | BadRow]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            where = f"{path}:{number}"
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                yield BadRow(where, _not_utf8(error))
                continue
            if line.strip():
                yield _parse_object(line.rstrip("\r\n"), where)


def _parse_object(text: str, where: str) -> Row | BadRow:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return BadRow(where, f"not valid JSON: {error.msg} at column {error.colno}; one object a line is expected")
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits, nesting as deep
        return BadRow(where, f"not valid JSON: {error}")
    return _as_row(value, where)


def _as_row(value: Any, where: str) -> Row | BadRow:
    if isinstance(value, dict):
        return Row(where, value)
    return BadRow(where, f'a row must be an object such as {{"input_text": …, "label": …}}, got {_kind(value)}')


_NOT_UTF8 = "not valid UTF-8; save the file as UTF-8"
_BETWEEN = re.compile(r"[\s,]*")


def _read_json(path: Path) -> Iterator[Row | BadRow]:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        yield BadRow(f"{path}:{line}", _not_utf8(error))
        return
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] != "[":
        raise DataError(f"{path}: a .json file must be an array of objects; for one object a line, name it .jsonl")
    decoder, position = json.JSONDecoder(), start + 1
    line, counted = text.count("\n", 0, position) + 1, position
    while True:
        gap = _BETWEEN.match(text, position)
        assert gap is not None
        position = gap.end()
        line, counted = line + text.count("\n", counted, position), position
        where = f"{path}:{line}"
        if text[position : position + 1] == "]":
            if rest := text[position + 1 :].strip():
                yield BadRow(where, f"text after the end of the array: {rest[:20]!r}; a .json file is one array")
            return
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            yield BadRow(f"{path}:{error.lineno}", f"not valid JSON: {error.msg} at column {error.colno}; correct it")
            return
        except (ValueError, RecursionError) as error:
            yield BadRow(where, f"not valid JSON: {error}")
            return
        yield _as_row(value, where)


def _read_csv(path: Path) -> Iterator[Row | BadRow]:
    csv.field_size_limit(2**31 - 1)  # the default of 128 KiB refuses long documents
    # Bad bytes become lone surrogates, so that the row that holds them can be named and reading goes on.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        line = 1
        try:
            header = next(reader, [])
            if _has_surrogates(header):
                raise DataError(f"{path}:1: the header is {_NOT_UTF8}")
            if len(set(header)) < len(header):
                raise DataError(f"{path}:1: two columns have the same name: {', '.join(header)}")
            line = reader.line_num + 1
            for values in reader:
                where, line = f"{path}:{line}", reader.line_num + 1
                if values:
                    yield _csv_row(header, values, where)
        except csv.Error as error:  # the line is where the row begins: a quote never closed swallows the rest
            yield BadRow(f"{path}:{line}", f"not valid CSV: {error}; close the quotes, and double those inside text")


def _csv_row(header: list[str], values: list[str], where: str) -> Row | BadRow:
    if _has_surrogates(values):
        return BadRow(where, _NOT_UTF8)
    if len(values) != len(header):
        return BadRow(
            where, f"{len(values)} fields where the header has {len(header)}; put quotes around text with commas"
        )
    return Row(where, dict(zip(header, values, strict=True)))


def _has_surrogates(values: list[str]) -> bool:
    return any("\ud800" <= char <= "\udfff" for value in values if not value.isascii() for char in value)


def _read_parquet(path: Path) -> Iterator[Row | BadRow]:
    try:
        # By default the whole compressed file is read ahead; this way a buffer's worth of a column at a time.
        file = pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16)
        number = 0
        for batch in file.iter_batches(batch_size=1024):
            for index in range(batch.num_rows):
                number += 1
                where = f"{path}:row {number}"
                try:
                    yield Row(where, batch.slice(index, 1).to_pylist()[0])
                except UnicodeDecodeError as error:
                    yield BadRow(where, _not_utf8(error))
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file: {str(error).splitlines()[0]}") from error


def _not_utf8(error: UnicodeDecodeError) -> str:
    return f"not valid UTF-8 at byte {error.start}; save the file as UTF-8"


def _kind(value: Any) -> str:
    kinds = {str: "text", list: "a list", bool: "a boolean", int: "a number", float: "a number", type(None): "null"}
    return kinds.get(type(value), f"a {type(value).__name__}")


_READERS: dict[str, Callable[[Path], Iterator[Row | BadRow]]] = {
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
}
