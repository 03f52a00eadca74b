"""A row as it is read: its columns and its place; or a place that is none, and why."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dhrd.errors import DataError

logger = logging.getLogger("dhrd")

Columns = Mapping[str, object]
"""A row's columns by their names; a value is of whatever type its source has."""


@dataclass(frozen=True, slots=True)
class Row:
    """The columns of one row and its place, `file:line`.

    Args:
        where: The place.
        columns: What a template sees.
        own: Fields that an `Example` has beside its columns, by our names; they go before any column.
    """

    where: str
    columns: dict[str, object]
    own: Columns = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A place that is not a row, and why."""

    where: str
    problem: str


def check_names(names: Sequence[object], where: str) -> None:
    """Refuse columns of which two have the same name, or none.

    Raises:
        DataError: Naming them all; those without a name by their places.
    """
    if len(set(names)) < len(names):
        nameless = [place for place, name in enumerate(names, 1) if not str(name).strip()]
        if len(nameless) > 1:
            some = ", ".join(map(str, nameless[:5])) + " …" * (len(nameless) > 5)
            raise DataError(f"{where}: {len(nameless)} columns have no name ({some}); name them, or take them out")
        raise DataError(f"{where}: two columns have the same name: {', '.join(map(str, names))}; rename one")


class Remarks:
    """Warnings about rows, each said once however often the rows are read."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._is_hushed = False

    def hush(self) -> None:
        """Say nothing from now on: these rows are only looked at, and will be read once more."""
        self._is_hushed = True

    def __call__(self, message: str) -> None:
        """Warn, unless the same was said before."""
        if message not in self._said and not self._is_hushed:
            self._said.add(message)
            logger.warning("%s", message)
