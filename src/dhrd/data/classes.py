"""Columns whose integers have names of their own: `ClassLabel`s of a `datasets.Dataset`, the hub, a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from dhrd.data.label_names import clean_name
from dhrd.data.labels import LabelSet
from dhrd.data.row import BadRow, Row

_METADATA = b"huggingface"


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
        """Of a data set's `features`; none where it does not know them."""
        kinds = {column: getattr(kind, "feature", kind) for column, kind in (features or {}).items()}
        names = {column: kind.names for column, kind in kinds.items() if hasattr(kind, "int2str")}
        return cls(names, frozenset(column for column in names if kinds[column] is not (features or {})[column]))

    @classmethod
    def of_file(cls, path: Path) -> Classes:
        """Of a Parquet file, or the first of a directory, that the library `datasets` wrote; none of any other."""
        path = next(iter(sorted(path.glob("*.parquet"))), path) if os.path.isdir(path) else path
        if path.suffix.lower() != ".parquet" or not os.path.isfile(path):
            return cls()
        try:
            schema = pyarrow.parquet.read_schema(path)
        except (OSError, ValueError, pyarrow.ArrowException):
            return cls()  # the reader says what is wrong with it
        if _METADATA not in (schema.metadata or {}):
            return cls()
        import datasets

        return cls.of_features(datasets.Features.from_arrow_schema(schema))

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
            found = {column: _name(row.columns[column], self.names[column])
                     for column in self.names if isinstance(row, Row) and column in row.columns}  # fmt: skip
            yield replace(row, columns={**row.columns, **found}) if isinstance(row, Row) and found else row


def _name(index: Any, names: Sequence[str]) -> Any:
    if isinstance(index, list):
        return [_name(one, names) for one in index]
    is_one = isinstance(index, int | np.integer) and 0 <= index < len(names)  # -1: unlabelled
    return names[int(index)] if is_one else None
