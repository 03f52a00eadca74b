"""A row as it is read: its columns and its place; or a place that is none, and why."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dhrd.errors import DataError

logger = logging.getLogger("dhrd")

Columns = Mapping[str, object]
"""A row's columns by their names; a value is of whatever type its source has."""


@dataclass(frozen=True, slots=True)
class Row:
    """The columns of one row and its place, `file:line`."""

    where: str
    columns: dict[str, object]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A place that is not a row, and why."""

    where: str
    problem: str


def check_names(names: Sequence[object], where: str) -> None:
    """Refuse columns of which two have the same name.

    Raises:
        DataError: Naming them all.
    """
    if len(set(names)) < len(names):
        raise DataError(f"{where}: two columns have the same name: {', '.join(map(str, names))}; rename one")


class Remarks:
    """Warnings about rows, each said once however often the rows are read."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, message: str) -> None:
        """Warn, unless the same was said before."""
        if message not in self._said:
            self._said.add(message)
            logger.warning("%s", message)
