"""Types of the input's columns, where all its files are Parquet and say them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from dhrd.data.classes import METADATA, Classes
from dhrd.data.readers import files_of, is_read_once
from dhrd.data.remote import is_url, urls_of


def files_of_input(data: Any) -> list[str]:
    """The files of rows that `data` names, as absolute paths or URLs; empty where the rows are of no files.

    Args:
        data: A source as for `data.train`.

    Raises:
        DataError: There is no such file.
    """
    if not isinstance(data, str | Path) or re.match(r"(superglue|policy_desk|hub):", str(data)):
        return []
    if is_url(data):
        return urls_of(str(data))
    path = Path(data).expanduser()
    return [] if is_read_once(path) else [os.path.abspath(file) for file in files_of(path)]


def column_types(files: Sequence[str], names: Sequence[str]) -> dict[str, pa.DataType]:
    """The types of columns that are the same in all files; of the other columns only values can tell.

    Left out are objects, whose keys may differ, and integers with names (`ClassLabel`), which are read as text.

    Args:
        files: Paths or URLs, as of `files_of_input`.
        names: The columns.

    Raises:
        DataError: The class names in a file's schema cannot be read.
    """
    if not names or not all(file.lower().endswith(".parquet") for file in files):
        return {}
    found: dict[str, set[pa.DataType | None]] = {name: set() for name in names}
    for file in files:
        schema = _schema_of(file)
        if schema is None:
            return {}
        named = Classes.of_metadata(file, (schema.metadata or {}).get(METADATA, b"")).names
        for name in {*names}.intersection(schema.names):
            found[name].add(None if name in named else _kept_type(schema.field(name).type))
    return dict(_same(found))


def _same(found: dict[str, set[pa.DataType | None]]) -> Iterator[tuple[str, pa.DataType]]:
    for name, kinds in found.items():
        if len(kinds) == 1 and (kind := kinds.pop()) is not None:
            yield name, kind


def _schema_of(file: str) -> pa.Schema | None:
    """A file's schema; None if it cannot be read: reading its rows says why."""
    try:
        with fsspec.open(file, "rb") if is_url(file) else open(file, "rb") as stream:
            return pq.read_schema(stream)
    except Exception:  # each file system has errors of its own
        return None


def _kept_type(kind: pa.DataType) -> pa.DataType | None:
    """A type for the values of a column, as rows have them; None: their own decides."""
    types = pa.types
    if types.is_dictionary(kind):  # each batch would need its dictionary
        return _kept_type(kind.value_type)
    if types.is_large_string(kind):
        return pa.string()
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        item = _kept_type(kind.value_type)
        return None if item is None else pa.list_(item)
    is_own = types.is_nested(kind) or types.is_null(kind) or types.is_float16(kind)
    return None if is_own or isinstance(kind, pa.BaseExtensionType) else kind
