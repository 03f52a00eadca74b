"""What a template may compute and write: a budget for each rendering, which everything that grows is charged to."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar

from jinja2.utils import Namespace

_LEAST = 1_000_000
_TIMES_THE_ROW = 20


class TooMuch(Exception):
    """A template computes or writes more than it may."""


class _Budget:
    """What a rendering may still compute and write: a million, and where that is used up more by the row's size.

    Most renderings never come so far, and their rows are not measured.
    """

    __slots__ = ("columns", "left")

    def __init__(self, columns: Mapping[str, object]) -> None:
        self.left = _LEAST
        self.columns: Mapping[str, object] | None = columns

    def charge(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0 and not (self._grow() and self.left >= 0):
            raise TooMuch("it computes or writes far more than the row contains; remove loops, padding or repetition")

    def _grow(self) -> bool:
        if self.columns is None:
            return False
        columns, self.columns = self.columns, None
        self.left += _TIMES_THE_ROW * _measure(dict(columns), 1 << 62)  # the row may be of any size
        return True

    def size(self, value: object) -> int:
        """Characters and values in a value, or more than are left where counting stopped."""
        if type(value) is str:
            return 1 + len(value)
        size = _measure(value, self.left)
        return _measure(value, self.left) if size > self.left and self._grow() else size


def _measure(value: object, limit: int) -> int:
    """Characters and values in a value, or a number over the limit where counting stopped."""
    total, pending = 0, [value]
    while pending and total <= limit:
        item = pending.pop()
        total += 1
        if isinstance(item, str | bytes):
            total += len(item)
        elif isinstance(item, dict):  # of plain rows; to ask for any mapping takes ten times as long
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set | frozenset | KeysView | ValuesView | ItemsView):
            pending += item
        elif isinstance(item, Namespace):
            pending.append(item._Namespace__attrs)  # it hides its `__dict__`
        elif isinstance(item, range):
            total += len(item)
        elif isinstance(item, int):
            total += item.bit_length() // 8
    return total


_BUDGET: ContextVar[_Budget] = ContextVar("dhrd_template_budget")


@contextmanager
def budget(columns: Mapping[str, object]) -> Iterator[None]:
    """Bound what is rendered within by the size of the row, and by a million characters where that is more."""
    token = _BUDGET.set(_Budget(columns))
    try:
        yield
    finally:
        _BUDGET.reset(token)


def charge(amount: int) -> None:
    """Take from the budget of what is being rendered.

    Raises:
        TooMuch: It is used up.
    """
    _BUDGET.get().charge(amount)


def size_of(value: object) -> int:
    """Characters and values in a value; no further than the budget reaches, for a list may hold itself many times."""
    return _BUDGET.get().size(value)
