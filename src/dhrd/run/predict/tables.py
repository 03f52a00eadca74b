"""File formats of predictions: each turns a window of them into bytes that can be appended.

A resumed run continues from the appended bytes. Parquet, which cannot be appended to, is made from them at the end.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from dhrd._json import json_line, json_text
from dhrd.data.label_space import LabelSpace
from dhrd.data.records import LabelSet
from dhrd.errors import DataError

Record = Mapping[str, object]

_ROW_GROUP_BYTES = 1 << 26
_NO_ARRAY = (pa.ArrowException, OverflowError, UnicodeEncodeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of predictions.

    Args:
        labels: The label set.
        keep: Columns copied from the input.
        abstains: Whether the artifact has a decision.
        has_sets: Whether the decision has label sets.
        types: The types of copied columns, where the input says them.
    """

    labels: LabelSet
    keep: tuple[str, ...] = ()
    abstains: bool = False
    has_sets: bool = False
    types: Mapping[str, pa.DataType] = field(default_factory=dict)

    @property
    def own(self) -> tuple[str, ...]:
        """The names of the columns that are not from the input; they come first."""
        return ("id", "label", *("abstained",) * self.abstains, "probabilities", *("label_set",) * self.has_sets)

    @property
    def spread(self) -> dict[str, list[str]]:
        """For formats with one value per cell: the columns that replace one with several values."""
        labels = [f"{task.name}/label" for task in self.labels.slices if task.name]
        return {"probabilities": [f"p_{name}" for name in self.labels.names]} | ({"label": labels} if labels else {})

    @property
    def names(self) -> tuple[str, ...]:
        """All column names."""
        return (*self.own, *self.keep)


class Table(Protocol):
    """A file format."""

    def head(self, records: Sequence[Record]) -> bytes:
        """The header, given the first rows."""

    def rows(self, records: Sequence[Record], head: bytes) -> Iterable[bytes]:
        """Rows as bytes to append."""

    def finish(self, appended: Path) -> Path:
        """Make the final file from the appended bytes, beside them."""


class JsonLines:
    """One object per line, plain or gzipped; each gzipped window is a gzip member of its own."""

    def __init__(self, *, gzipped: bool = False) -> None:
        self._gzipped = gzipped

    def head(self, records: Sequence[Record]) -> bytes:
        """Nothing."""
        return b""

    def rows(self, records: Sequence[Record], head: bytes) -> Iterable[bytes]:
        """One line per row."""
        lines = [json_line(record) for record in records]
        return [gzip.compress(b"".join(lines), mtime=0)] if self._gzipped else lines

    def finish(self, appended: Path) -> Path:
        """The appended file is the final one; but no bytes at all are no gzip file."""
        if not self._gzipped or appended.stat().st_size:
            return appended
        empty = appended.with_suffix(".gz")
        empty.write_bytes(gzip.compress(b"", mtime=0))
        return empty


class Csv:
    """A header and a line per row: a column `p_LABEL` per label and, with several tasks, a column `TASK/label` per
    task; lists are written as JSON, null as nothing."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def head(self, records: Sequence[Record]) -> bytes:
        """The names of the columns."""
        spread = self._columns.spread
        return _csv_line(part for name in self._columns.names for part in spread.get(name, (name,)))

    def rows(self, records: Sequence[Record], head: bytes) -> Iterable[bytes]:
        """One line per row."""
        return [_csv_line(map(_csv_value, self._values(record))) for record in records]

    def finish(self, appended: Path) -> Path:
        """Nothing to do: the appended file is the final one."""
        return appended

    def _values(self, record: Record) -> Iterator[object]:
        for name in self._columns.names:
            value = record[name]
            if name in self._columns.spread and isinstance(value, Mapping):
                yield from value.values()
            else:
                yield value


def _csv_line(values: Iterable[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(values)  # the writer quotes values with characters of its line terminator, so "\r" too
    return f"{text.getvalue()[:-2]}\n".encode("utf-8", "backslashreplace")


def _csv_value(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return json_text(value) if isinstance(value, list | Mapping) else value


class Parquet:
    """Typed columns, with the probabilities as a struct. Windows are appended as Arrow record batches."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def head(self, records: Sequence[Record]) -> bytes:
        """The schema; copied columns have the type that the input says or that their first values have, or are text."""
        given = self._columns.types
        kept = [
            pa.field(name, given[name] if name in given else _type_of([record[name] for record in records]))
            for name in self._columns.keep
        ]
        types = {
            "id": pa.string(),
            "label": _label_type(self._columns.labels),
            "abstained": pa.bool_(),
            "probabilities": pa.struct([pa.field(name, pa.float64()) for name in self._columns.labels.names]),
            "label_set": pa.list_(pa.string()),
        }
        schema = pa.schema([*(pa.field(name, types[name]) for name in self._columns.own), *kept])
        return schema.serialize().to_pybytes()

    def rows(self, records: Sequence[Record], head: bytes) -> Iterable[bytes]:
        """The rows as a record batch.

        Raises:
            DataError: A copied column has a value of a different type than its first ones.
        """
        schema = pa.ipc.read_schema(pa.py_buffer(head))
        arrays = [_array([record[field.name] for record in records], field) for field in schema]
        return [pa.record_batch(arrays, schema=schema).serialize().to_pybytes()]

    def finish(self, appended: Path) -> Path:
        """Write the batches as row groups of about 64 MB."""
        target = appended.with_suffix(".parquet")
        with pa.OSFile(str(appended)) as file:
            messages = pa.ipc.MessageReader.open_stream(file)
            schema = pa.ipc.read_schema(messages.read_next_message())
            with pq.ParquetWriter(target, schema) as writer:
                for group in _groups(messages, schema):
                    writer.write_table(group, row_group_size=max(1, group.num_rows))
        return target


def _label_type(labels: LabelSet) -> pa.DataType:
    """The type of labels; with several tasks, a struct."""
    if isinstance(labels, LabelSpace):
        return pa.struct([pa.field(task.name, _label_type(task.labels)) for task in labels.tasks])
    return pa.list_(pa.string()) if labels.multi_label else pa.string()


def _groups(messages: Iterator[pa.Message], schema: pa.Schema) -> Iterator[pa.Table]:
    """Combine consecutive batches into row groups."""
    batches, num_bytes = [], 0
    for message in messages:
        batches.append(pa.ipc.read_record_batch(message, schema))
        num_bytes += batches[-1].nbytes
        if num_bytes > _ROW_GROUP_BYTES:
            yield pa.Table.from_batches(batches, schema)
            batches, num_bytes = [], 0
    if batches:
        yield pa.Table.from_batches(batches, schema)


def _type_of(values: Sequence[object]) -> pa.DataType:
    """The common type of values or of lists of them, with room for later ones; text for other JSON values, as objects
    may differ in their keys."""
    try:
        kind = pa.array(values).type
    except _NO_ARRAY:  # of several types
        return pa.string()
    item = kind
    while pa.types.is_list(item):
        item = item.value_type
    return pa.string() if pa.types.is_null(item) or pa.types.is_nested(item) else _wide(kind, values)


def _wide(kind: pa.DataType, values: Sequence[object]) -> pa.DataType:
    """A decimal with all digits, and nanoseconds where values (of pandas) have them, which pyarrow would drop."""
    if pa.types.is_decimal128(kind):
        return pa.decimal128(38, kind.scale)
    is_fine = any(hasattr(value, "nanosecond") or hasattr(value, "nanoseconds") for value in values)
    if not is_fine or not (pa.types.is_timestamp(kind) or pa.types.is_duration(kind)):
        return kind
    fine = pa.timestamp("ns", kind.tz) if pa.types.is_timestamp(kind) else pa.duration("ns")
    try:
        return pa.array(values, fine).type
    except _NO_ARRAY:  # a year that nanoseconds do not reach
        return kind


def _array(values: Sequence[object], field: pa.Field) -> pa.Array:
    if pa.types.is_string(field.type):
        values = [_text(value) for value in values]
    try:
        array = pa.array(values, field.type)
        if (
            pa.types.is_string(field.type) or array.to_pylist() == values
        ):  # a conversion to integers would drop the fraction
            return array
    except _NO_ARRAY:
        pass
    raise DataError(
        f"column {field.name!r}: a value is not a {field.type} like the first ones; use one type, or write "
        "a format other than Parquet"
    )


def _text(value: object) -> str | None:
    if value is None:
        return None
    text = json_text(value) if isinstance(value, list | Mapping | bool) else str(value)
    return text.encode("utf-8", "backslashreplace").decode()
