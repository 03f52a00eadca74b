"""Rows of .csv and .tsv files.

CSV has quotes, in which delimiters and line ends are text. TSV has none, as GLUE writes it: `5"` is five inches, and a
quote that swallowed the next lines would take their labels with it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TextIO

from dhrd._text import shown
from dhrd.data.row import BadRow, Row, check_names
from dhrd.errors import DataError

NOT_UTF8 = "not valid UTF-8; save the file as UTF-8"
_DECLARED = re.compile(r"sep=(.)[\r\n]*")  # how spreadsheets name the delimiter, in a line before the header
_OTHER_DELIMITERS = (";", "\t", "|")
_LINE_END = re.compile(r"\r\n?|\n")


def read_csv(
    lines: TextIO, name: str, *, delimiter: str = ",", remark: Callable[[str], None]
) -> Iterator[Row | BadRow]:
    """The rows of a CSV file.

    Args:
        lines: The text, its line ends as they are; bytes that are not UTF-8 as lone surrogates, so that the row that
            holds them can be named and reading goes on.
        name: Of the file, for messages.
        delimiter: Between fields; a line `sep=;` at the file's beginning says another.
        remark: Told, at the end, what looks wrong but may be right.

    Raises:
        DataError: The header cannot be used.
    """
    skipped, first = _first_line(lines)
    if declared := _DECLARED.fullmatch(first):
        delimiter, (more, first) = declared[1], _first_line(lines)
        skipped += 1 + more
    reader = csv.reader(chain([first], lines), strict=True, delimiter=delimiter)
    swallowed: list[str] = []
    for row in _rows(reader, name, skipped, delimiter):
        if isinstance(row, Row) and _holds_rows(list(map(str, row.columns.values())), delimiter):
            swallowed.append(row.where)
        yield row
    if swallowed:
        remark(
            f"{name}: in {len(swallowed)} rows a quoted text contains lines that look like rows (first: "
            f"{swallowed[0]}); if a quote was not closed there, double the quotes inside texts"
        )


def read_tsv(lines: TextIO, name: str, *, remark: Callable[[str], None]) -> Iterator[Row | BadRow]:
    """The rows of a TSV file; arguments as `read_csv`'s.

    Raises:
        DataError: The header cannot be used.
    """
    skipped, first = _first_line(lines)
    reader = csv.reader(chain([first], lines), delimiter="\t", quoting=csv.QUOTE_NONE)
    num_quoted = 0
    for row in _rows(reader, name, skipped, "\t"):
        num_quoted += isinstance(row, Row) and any(map(_is_quoted, row.columns.values()))
        yield row
    if num_quoted:
        remark(
            f'{name}: in {num_quoted} rows a field starts and ends with a quote ("), kept as part of the text, as in '
            "GLUE's files; if the quotes only delimit the field, name the file .csv and set "
            "data.csv_delimiter=tab"
        )


def _first_line(lines: TextIO) -> tuple[int, str]:
    """How many blank lines there are, and the line after them; "" at the end."""
    skipped = 0
    for line in lines:
        if line.strip("\r\n \ufeff"):
            return skipped, line
        skipped += 1
    return skipped, ""


def _rows(reader: Iterator[list[str]], name: str, skipped: int, delimiter: str) -> Iterator[Row | BadRow]:
    csv.field_size_limit(2**31 - 1)  # the default of 128 KiB refuses long documents
    line = skipped + 1
    try:
        header = next(reader, [])
        _check_header(header, f"{name}:{line}", delimiter)
        line = skipped + reader.line_num + 1  # type: ignore[attr-defined]
        for values in reader:
            where, line = f"{name}:{line}", skipped + reader.line_num + 1  # type: ignore[attr-defined]
            if values:
                yield _row(header, values, where, delimiter)
    except csv.Error as error:  # the line is where the row begins: a quote never closed swallows the rest
        yield BadRow(f"{name}:{line}", f"not valid CSV: {error}; close the quotes, and double those inside text")


def _check_header(header: list[str], where: str, delimiter: str) -> None:
    if _has_surrogates(header):
        raise DataError(f"{where}: the header is {NOT_UTF8}")
    check_names(header, where)
    others = [other for other in _OTHER_DELIMITERS if other != delimiter and len(header) == 1 and other in header[0]]
    if others:
        other = "tab" if others[0] == "\t" else f"'{others[0]}'"
        raise DataError(
            f"{where}: the header is one column, {shown(header[0])}; if the delimiter is {other}, give "
            f"`data.csv_delimiter={other}`"
        )


def _row(header: list[str], values: list[str], where: str, delimiter: str) -> Row | BadRow:
    if _has_surrogates(values):
        return BadRow(where, NOT_UTF8)
    if len(values) != len(header):
        mend = "remove tabs from texts" if delimiter == "\t" else "put quotes around text with commas"
        return BadRow(where, f"{len(values)} fields where the header has {len(header)}; {mend}")
    return Row(where, dict(zip(header, values, strict=True)))


def _has_surrogates(values: Iterable[str]) -> bool:
    return any("\ud800" <= char <= "\udfff" for value in values if not value.isascii() for char in value)


def _is_quoted(value: object) -> bool:
    return isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"'


def _holds_rows(values: list[str], delimiter: str) -> bool:
    """Whether each line of a row of several lines has as many fields as the header."""
    for index, value in enumerate(values):
        if "\n" not in value and "\r" not in value:
            continue
        counts = [line.count(delimiter) + 1 for line in _LINE_END.split(value.rstrip("\r\n"))]
        counts[0] += index
        counts[-1] += len(values) - index - 1
        if len(counts) > 1 and all(count == len(values) for count in counts) and len(values) > 1:
            return True
    return False
