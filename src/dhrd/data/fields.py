"""One field of a row: what it may be, and what to say where it is not. Checks raise ValueError: `field: what; fix`."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TypeVar

from dhrd._text import shown
from dhrd.data.label_names import Shares, as_label
from dhrd.data.row import Row
from dhrd.data.values import as_whole, is_blank
from dhrd.errors import DataError

S = TypeVar("S")
T = TypeVar("T")

MAX_PROBLEMS = 10
"""Bad rows that are reported together."""


def read_each(rows: Iterable[S], read: Callable[[S], T]) -> Iterator[T]:
    """What each row reads as; the first problems are reported together, after the last row that was read.

    Raises:
        DataError: What `read` raised, up to ten times, a line each.
    """
    problems: list[str] = []
    for row in rows:
        try:
            value = read(row)
        except DataError as error:
            problems.append(str(error))
            if len(problems) == MAX_PROBLEMS:
                break
        else:
            yield value
    if problems:
        raise DataError("\n".join(problems))


def check_characters(row: Row, names: Collection[str] | None = None) -> None:
    """Refuse half an emoji: JSON can escape it (`\\ud83d`), UTF-8 has no bytes for it and tokenizers stop at it.

    Args:
        row: The row.
        names: The columns to look at; None: all.
    """
    for name, value in row.columns.items():
        if names is not None and name not in names:
            continue
        try:
            for text in _texts(value):
                text.encode()
        except UnicodeEncodeError as error:
            half = f"{error.object[error.start]!r} at character {error.start}"
            raise ValueError(f"{name}: {half} is half of a surrogate pair, not text; correct the row") from None
        except RecursionError:
            raise ValueError("a value is nested too deeply; correct the row") from None


def _texts(value: object) -> Iterator[str]:
    """The texts in a value, however deep, that may hold such a half."""
    if isinstance(value, str):
        if not value.isascii():
            yield value
    elif isinstance(value, Mapping):
        for part in (*value.keys(), *value.values()):
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def input_text(value: object, row: Row, *, required: bool) -> str:
    """The text, which may be absent only where the template reads other columns."""
    if not required:
        return value if isinstance(value, str) else ""
    if value is None:
        raise ValueError(
            f"input_text: missing; the row has {column_names(row)} (map it with `data.columns.input_text=COLUMN`)"
        )
    if not isinstance(value, str):
        raise ValueError(f"input_text: {shown(value)} is not text; put it in quotes")
    if not value.strip():
        raise ValueError("input_text: empty; fill it in or remove the row")
    return value


def column_names(row: Row) -> str:
    """The row's columns, for a message."""
    return ", ".join(str(name) or "''" for name in row.columns) or "no columns"


def label(
    value: object, required: bool, row: Row, separator: str | None = None, *, column: str = "label"
) -> str | tuple[str, ...] | Shares | None:
    """A name, several as a tuple, shares, or None where there is none; see `as_label`. It came from `column`."""
    name = as_label(value, separator)
    if name is None and required:
        if column in row.columns:
            raise ValueError(
                f"label: missing: {shown(column)} is {shown(row.columns[column])}; blank, null and a ClassLabel's "
                "-1 mean unlabelled: leave such rows out"
            )
        raise ValueError(f"label: missing; the row has {column_names(row)} (map it with `data.columns.label=COLUMN`)")
    return name


def weight(value: object, column: str) -> float:
    """How much a row counts, by what is in a column."""
    if is_blank(value):
        raise ValueError(f"weight: missing in {shown(column)}; fill it in (1 counts as one row)")
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number < math.inf:
        what = f"{shown(value)} is not a number of at least 0"
        raise ValueError(f"weight: {what}; correct it, or rename the column if it is not a weight")
    return number


def optional_text(name: str, value: object) -> str | None:
    """Text, or None where there is nothing but space."""
    if value is None or isinstance(value, str):
        return value if value and value.strip() else None
    raise ValueError(f"{name}: {shown(value)} is not text; put it in quotes, or leave it out")


def key(name: str, value: object, column: str | None = None) -> str | None:
    """An id or a group: text, or an integer (a whole decimal number, too: 7.0 is 7) as text. It came from `column`."""
    if is_blank(value):
        return None
    if (number := as_whole(value)) is not None:  # 7.0 is what pandas makes of 7 where another is missing
        return str(number)
    if isinstance(value, str):
        return value
    other = f", or name another column than {shown(column)}: `data.columns.{name}=COLUMN`" if column is not None else ""
    raise ValueError(f"{name}: {shown(value)} is neither text nor an integer; correct the row{other}")
