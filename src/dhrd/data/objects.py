"""Rows given in Python: what is a row, what is a table of them, and what is neither."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from io import IOBase
from pathlib import Path
from typing import Any

import pyarrow

from dhrd._text import shown
from dhrd.data.fields import check_characters, input_text
from dhrd.data.records import Example
from dhrd.data.row import BadRow, Row, check_names
from dhrd.data.templates import InputTemplate
from dhrd.data.values import plain, plain_columns
from dhrd.errors import DataError

_NO_ROWS = (bytes, bytearray, memoryview, Set, Path, IOBase)  # bytes, what has no order, and files: give their names
_WANTED = "give texts, dicts or Examples, or a table (a DataFrame, a Dataset, a dict of lists)"


def is_one(rows: object) -> bool:
    """Whether one row was given: a text, an `Example`, or a mapping that is not a dict of lists."""
    return isinstance(rows, str | Example) or (isinstance(rows, Mapping) and not _is_table(rows))


def as_rows(rows: Any) -> Iterable[Any]:
    """Rows one by one: of one alone, of several, or of a table.

    Raises:
        DataError: The value is none of these; the message names its type.
    """
    if is_one(rows):
        return [rows]
    if isinstance(rows, Mapping):
        return _rows_of_lists(rows)
    if is_dataset(rows):
        return rows.with_format(None)  # in their own format its rows are arrays
    if (library := _library(rows)) in _FRAMES and (frame := _FRAMES[library](rows)) is not None:
        return frame
    other_table = any(hasattr(rows, name) for name in ("columns", "column_names", "__dataframe__"))
    if other_table and library not in ("datasets", *_FRAMES):  # going through one gives the names of its columns
        raise DataError(f"rows: got {_article(rows)}, a table of an unknown type; give its rows as dicts")
    if isinstance(rows, Iterable) and not isinstance(rows, _NO_ROWS) and getattr(rows, "shape", None) != ():
        return rows
    raise DataError(f"rows: got {_article(rows)} ({shown(rows, 40)}); {_WANTED}")


def is_dataset(rows: object) -> bool:
    """Whether this is a `datasets.Dataset` or `IterableDataset`; the library need not be imported."""
    return _library(rows) == "datasets" and hasattr(rows, "features") and hasattr(rows, "with_format")


def row_of(item: object, where: str, mapping: Mapping[str, str], own: Sequence[str] = ()) -> Row | BadRow:
    """One row's columns, as they are.

    Args:
        item: The row.
        where: Its place, if it does not have one.
        mapping: Our field -> their column, which a text and an `Example` get as well.
        own: Fields of an `Example` to read besides its columns; with them its weight, and what its rationale is for.
    """
    if isinstance(item, Example):
        if own and item.shares is not None:
            return BadRow(item.where or where, "shares: give them as the label, by name: {'a': 0.6, 'b': 0.4}")
        names = (*own, "weight", "rationale_task") if own else ()
        read = {name: value for name in names if (value := _own_value(item, name, mapping)) is not _NOT_OWN}
        fields = {name: read[name] for name in own if name in read}
        ours = {mapping["input_text"]: item.input_text} if item.input_text and "input_text" in mapping else {}
        # One that no source read has no columns but its fields, which a template may read; else a column of such a
        # name may be something else, and a template that reads it must not get the label instead.
        made = {} if item.digest else {mapping.get(name, name): value for name, value in fields.items()} | fields
        return Row(item.where or where, {**made, **item.columns(), **ours}, read)
    if isinstance(item, Mapping):
        return Row(where, {str(name): value for name, value in item.items()})
    text = plain(item) if isinstance(item, str | pyarrow.Scalar) else None  # what a pyarrow array is made of
    if isinstance(text, str):
        return Row(where, dict.fromkeys(("input_text", mapping.get("input_text", "input_text")), text))
    return BadRow(where, f"a row must be a text, a dict or an Example, got {_article(item)}")


_NOT_OWN = object()
_UNSET = {"id": "", "weight": 1.0}


def _own_value(example: Example, name: str, mapping: Mapping[str, str]) -> object:
    """An `Example`'s field; none of its own where it is as it is by default, and one made by hand has the column."""
    value = getattr(example, name)
    is_column = not example.digest and mapping.get(name, name) in example.fields
    return _NOT_OWN if is_column and value == _UNSET.get(name) else value


def numbered_rows(rows: object, mapping: Mapping[str, str]) -> Iterator[Row | BadRow]:
    """The rows of what was given in Python, each with its number as its place.

    Raises:
        DataError: As `as_rows`.
    """
    own = ("label", "rationale", "id", "group")
    return (row_of(item, f"row {number}", mapping, own) for number, item in enumerate(as_rows(rows)))


def columns_of(
    item: object, where: str, template: InputTemplate, mapping: Mapping[str, str]
) -> tuple[Mapping[str, object], str]:
    """What an input template sees of one row, and the row's name in errors; checked as rows of files are.

    Args:
        item: The row.
        where: Its place, if it does not have one.
        template: The input template, which determines the columns read.
        mapping: Our field -> the rows' column, as in training; a row may have our name as well.

    Raises:
        DataError: It is not a row, or what the template reads is not text.
    """
    row = row_of(item, where, mapping)
    if isinstance(row, BadRow):
        raise DataError(f"{row.where}: {row.problem}")
    is_ours = isinstance(item, Example) and item.input_text  # whatever other columns it has
    try:
        row = replace(row, columns=plain_columns(row.columns))
        columns = row.columns if is_ours else with_own_names(row.columns, mapping)
        check_characters(row, template.variables)
        if "input_text" in template.variables:
            input_text(columns.get("input_text"), row, required=True)
    except (ValueError, DataError) as error:
        raise DataError(f"{row.where}: {error}") from None
    return columns, row.where


def with_own_names(columns: Mapping[str, object], mapping: Mapping[str, str]) -> Mapping[str, object]:
    """Columns, the text under our name as well as under theirs."""
    theirs = mapping.get("input_text")
    return columns if theirs is None or theirs not in columns else {**columns, "input_text": columns[theirs]}


def _is_table(rows: Mapping[Any, object]) -> bool:
    return bool(rows) and all(map(_is_column, rows.values()))


def _is_column(value: object) -> bool:
    """Whether a value holds one value a row: a list, an array, a Series, a column of a data set, a whole split."""
    if isinstance(value, str | bytes | Mapping | Set | Example):
        return False
    is_sized = hasattr(value, "__len__") and hasattr(value, "__iter__")
    return isinstance(value, Sequence) or (is_sized and getattr(value, "shape", None) != ())


def _rows_of_lists(columns: Mapping[Any, Any]) -> Iterator[dict[Any, object]]:
    """The rows of a dict of lists, such as a slice of a data set gives."""
    names = ", ".join(map(str, columns))
    if any(map(_is_split, columns.values())):
        raise DataError(f"the data set is a mapping of {names}; give one split of it, or a list of rows")
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise DataError(
            f"rows: a dict of lists of different lengths ({', '.join(map(str, sorted(lengths)))}); {_WANTED}; one row "
            "whose columns are lists must be put in a list"
        )
    return (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))


def _is_split(values: object) -> bool:
    if isinstance(values, Sequence):
        return bool(values) and isinstance(values[0], Mapping | Example)
    return is_dataset(values) or (_library(values) in _FRAMES and hasattr(values, "columns"))


def _library(value: object) -> str:
    """The library of tables that a value's type, or the type that this is made of, comes from; else its own."""
    libraries = [base.__module__.partition(".")[0] for base in type(value).__mro__]
    return next((library for library in libraries if library in ("datasets", *_FRAMES)), libraries[0])


def _of_pandas(frame: Any) -> Iterable[dict[str, object]] | None:
    if not hasattr(frame, "columns"):  # a Series is a sequence of texts
        if "input_text" in getattr(frame, "index", ()):
            raise DataError("rows: got a Series that is one row of a table; give row.to_dict(), or frame.iloc[[0]]")
        return None
    check_names(list(frame.columns), "rows")
    return (dict(zip(frame.columns, values, strict=True)) for values in frame.itertuples(index=False, name=None))


def _of_polars(frame: Any) -> Iterable[dict[str, object]] | None:
    return frame.iter_rows(named=True) if hasattr(frame, "iter_rows") else None


def _of_pyarrow(table: Any) -> Iterable[dict[str, object]] | None:
    if not hasattr(table, "schema"):  # an array is a sequence of texts
        return None
    check_names(table.schema.names, "rows")
    if isinstance(table, pyarrow.RecordBatch):
        table = pyarrow.table(table)
    batches = table if isinstance(table, pyarrow.RecordBatchReader) else table.to_batches()  # a reader is read once
    return (row for batch in batches for row in batch.to_pylist())


_FRAMES = {"pandas": _of_pandas, "polars": _of_polars, "pyarrow": _of_pyarrow}


def _article(value: object) -> str:
    return f"a {type(value).__name__}"
