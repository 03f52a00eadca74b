"""Columns whose integers have names: `ClassLabel`s of a `datasets.Dataset`, the hub, a Parquet file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dhrd._text import shown
from dhrd.data.label_names import clean_name
from dhrd.data.labels import LabelSet
from dhrd.data.readers import parquet_metadata
from dhrd.data.row import BadRow, Row
from dhrd.errors import DataError

METADATA = b"huggingface"
"""The key of a Parquet schema under which `datasets` keeps its own."""


@dataclass(frozen=True, slots=True)
class Classes:
    """The names behind the integers of columns.

    Args:
        names: Column -> names in the order of their integers.
        lists: The columns whose rows have several.
    """

    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lists: frozenset[str] = frozenset()

    @classmethod
    def of_features(cls, features: Mapping[str, Any] | None) -> Classes:
        """Read from a data set's `features`; empty if it has none."""
        kinds = {column: getattr(kind, "feature", kind) for column, kind in (features or {}).items()}
        names = {column: kind.names for column, kind in kinds.items() if hasattr(kind, "int2str")}
        return cls(names, frozenset(column for column in names if kinds[column] is not (features or {})[column]))

    @classmethod
    def of_file(cls, path: Path) -> Classes:
        """Read from a Parquet file, or all in a directory, written by the library `datasets`; empty for any other.

        Raises:
            DataError: The metadata cannot be read, or the files of a directory name the classes differently.
        """
        named = [(file, cls.of_metadata(file, raw)) for file, raw in parquet_metadata(path, METADATA)]
        for file, classes in named:
            if classes != named[0][1]:
                raise DataError(
                    f"{file}: its schema names the classes differently from {named[0][0].name}, so integers would be "
                    "ambiguous; write the files again as one data set"
                )
        return named[0][1] if named else cls()

    @classmethod
    def of_metadata(cls, path: Path | str, raw: bytes) -> Classes:
        """Read from the JSON that `datasets` writes into a schema, so that its other column types do not matter.

        Raises:
            DataError: The metadata cannot be read.
        """
        if not raw:
            return cls()
        try:
            features = ((json.loads(raw).get("info") or {}).get("features") or {}).items()
        except (ValueError, AttributeError, RecursionError):
            raise DataError(
                f"{path}: the metadata of the datasets library in its schema is unreadable, so the class names "
                "are lost; write the file again"
            ) from None
        names: dict[str, Sequence[str]] = {}
        lists = set()
        for column, kind in features:
            inner = _inner(kind)
            if isinstance(inner, dict) and inner.get("_type") == "ClassLabel":
                names[column] = _checked(inner.get("names"), f"{path}: the column {shown(column)}")
                lists |= {column} if inner is not kind else set()
        return cls(names, frozenset(lists))

    def label_set(self, column: str) -> LabelSet | None:
        """The label set of a column, in its own order; None where the column has no names."""
        if column not in self.names:
            return None
        names = tuple(map(clean_name, self.names[column]))
        return LabelSet(names, multi_label=column in self.lists)

    def named(self, rows: Iterable[Row | BadRow]) -> Iterator[Row | BadRow]:
        """The rows with names for integers."""
        if not self.names:
            yield from rows
            return
        for row in rows:
            names = {column: _name(row.columns[column], self.names[column])
                     for column in self.names if isinstance(row, Row) and column in row.columns}  # fmt: skip
            yield replace(row, columns={**row.columns, **names}) if isinstance(row, Row) and names else row


def _inner(kind: Any) -> Any:
    """What the elements of a list are, as any version of `datasets` writes it; else the kind itself."""
    if isinstance(kind, list) and len(kind) == 1:
        return kind[0]
    is_list = isinstance(kind, dict) and kind.get("_type") in ("List", "LargeList", "Sequence")
    return kind.get("feature") if is_list else kind


def _checked(names: object, where: str) -> Sequence[str]:
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    raise DataError(
        f"{where}: the names of its ClassLabel are {shown(names)}, not a list of texts; write the file again"
    )


def _name(index: object, names: Sequence[str]) -> object:
    if isinstance(index, list):
        return [_name(part, names) for part in index]
    if isinstance(index, int | np.integer) and 0 <= index < len(names):  # -1: unlabelled
        return names[int(index)]
    return None
