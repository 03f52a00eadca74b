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
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_LINE_END = re.compile(r"\r\n?|\n")


def read_csv(
    lines: TextIO, name: str, *, delimiter: str = ",", remark: Callable[[str], None]
) -> Iterator[Row | BadRow]:
    """The rows of a CSV file.

    Args:
        lines: The text, its line ends as they are; bytes that are not UTF-8 as lone surrogates, so that the row that
            holds them can be named and reading continues.
        name: Name of the file, for messages.
        delimiter: Field delimiter; a line `sep=;` at the start of the file overrides it, and a header that it leaves
            as one column, but exactly one other delimiter splits, is read with that one.
        remark: Called at the end with warnings about what looks wrong.

    Raises:
        DataError: The header cannot be used.
    """
    skipped, first = _first_line(lines)
    if declared := _DECLARED.fullmatch(first):
        delimiter, (more, first) = declared[1], _first_line(lines)
        skipped += 1 + more
    else:
        delimiter = _delimiter_of(first, delimiter, f"{name}:{skipped + 1}")
    reader = csv.reader(chain([first], lines), strict=True, delimiter=delimiter)
    swallowed: list[str] = []
    for row in _rows(reader, name, skipped, delimiter, remark):
        if isinstance(row, Row) and _holds_rows(list(map(str, row.columns.values())), delimiter):
            swallowed.append(row.where)
        yield row
    if swallowed:
        remark(
            f"{name}: in {len(swallowed)} rows a quoted text contains lines that look like rows (first: "
            f"{swallowed[0]}); if a quote was not closed there, double the quotes inside texts"
        )


def read_tsv(lines: TextIO, name: str, *, remark: Callable[[str], None]) -> Iterator[Row | BadRow]:
    """The rows of a TSV file; arguments as for `read_csv`.

    Raises:
        DataError: The header cannot be used.
    """
    skipped, first = _first_line(lines)
    reader = csv.reader(chain([first], lines), delimiter="\t", quoting=csv.QUOTE_NONE)
    num_quoted = 0
    for row in _rows(reader, name, skipped, "\t", remark):
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


def _delimiter_of(header: str, given: str, where: str) -> str:
    """The delimiter of a header: the given one, unless only another one splits it.

    Raises:
        DataError: Several others split it.
    """
    others = [other for other in _DELIMITERS if other != given and _num_columns(header, other) > 1]
    if not others or _num_columns(header, given) > 1:
        return given
    if len(others) > 1:
        told = " or ".join(f"`data.csv_delimiter={_spelled(other)}`" for other in others)
        raise DataError(f"{where}: the header is one column, {shown(header.strip())}; say what divides it: {told}")
    return others[0]


def _num_columns(header: str, delimiter: str) -> int:
    """The number of columns in a header line; 1 if it cannot be determined."""
    try:
        return len(next(csv.reader([header], strict=True, delimiter=delimiter), []))
    except csv.Error:
        return 1


def _spelled(delimiter: str) -> str:
    """A delimiter as written in a shell for the setting."""
    return "tab" if delimiter == "\t" else f"'{delimiter}'"


def _rows(
    reader: Iterator[list[str]], name: str, skipped: int, delimiter: str, remark: Callable[[str], None]
) -> Iterator[Row | BadRow]:
    csv.field_size_limit(2**31 - 1)  # the default of 128 KiB refuses long documents
    line = skipped + 1
    blank: list[tuple[str, list[str]]] = []  # rows without anything, of which spreadsheets write some after the last
    try:
        header = next(reader, [])
        _check_header(header, f"{name}:{line}")
        line = skipped + reader.line_num + 1  # type: ignore[attr-defined]
        for values in reader:
            where, line = f"{name}:{line}", skipped + reader.line_num + 1  # type: ignore[attr-defined]
            if len(values) > 1 and not any(values):
                blank.append((where, values))
            elif values:
                for place, nothing in (*blank, (where, values)):
                    yield _row(header, nothing, place, delimiter)
                blank.clear()
        if blank:
            remark(f"{name}: {len(blank)} rows at the end have nothing in any column and are left out")
    except csv.Error as error:
        for place, nothing in blank:
            yield _row(header, nothing, place, delimiter)
        # The line is where the row begins: a quote never closed swallows the rest
        yield BadRow(f"{name}:{line}", f"not valid CSV: {error}; close the quotes, and double those inside text")


def _check_header(header: list[str], where: str) -> None:
    if _has_surrogates(header):
        raise DataError(f"{where}: the header is {NOT_UTF8}")
    check_names(header, where)


def _row(header: list[str], values: list[str], where: str, delimiter: str) -> Row | BadRow:
    if _has_surrogates(values):
        return BadRow(where, NOT_UTF8)
    if len(values) != len(header):
        return BadRow(where, f"{len(values)} fields where the header has {len(header)}; {_mend(header, delimiter)}")
    return Row(where, dict(zip(header, values, strict=True)))


def _mend(header: list[str], delimiter: str) -> str:
    """What to do if a row has more or fewer fields than the header."""
    if delimiter == "\t":
        return "take tabs out of texts"
    quotes = f"put quotes around text with {_DELIMITERS.get(delimiter, repr(delimiter))}"
    others = [other for other in _DELIMITERS if other != delimiter and any(other in name for name in header)]
    if not others:
        return quotes
    return f"{quotes}, or give `data.csv_delimiter={_spelled(others[0])}` if that divides the columns"


def _has_surrogates(values: Iterable[str]) -> bool:
    return any("\ud800" <= char <= "\udfff" for value in values if not value.isascii() for char in value)


def _is_quoted(value: object) -> bool:
    return isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"'


def _holds_rows(values: list[str], delimiter: str) -> bool:
    """Whether each line of a row of several lines has as many fields as the header, with no delimiter as in prose."""
    for index, value in enumerate(values):
        lines = _LINE_END.split(value.rstrip("\r\n"))
        counts = [line.count(delimiter) + 1 for line in lines]
        counts[0] += index
        counts[-1] += len(values) - index - 1
        are_full = len(lines) > 1 < len(values) and all(count == len(values) for count in counts)
        if are_full and not any(f"{delimiter} " in line or line.endswith(delimiter) for line in lines):
            return True
    return False
