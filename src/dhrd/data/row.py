"""A row as it is read: its columns and its place; or a place that is none, and why."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

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


class Remarks:
    """Warnings about rows, each said once however often the rows are read."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, message: str) -> None:
        """Warn, unless the same was said before."""
        if message not in self._said:
            self._said.add(message)
            logger.warning("%s", message)
