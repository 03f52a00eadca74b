"""Values of other libraries as plain ones, and what counts as missing: one meaning of null for every source."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

import pyarrow

from dhrd.errors import DataError

_PLAIN = (str, int, bool, bytes, type(None))
_MOST_DIGITS = 100  # Decimal("1e999999999") is whole, and as an integer it fills the memory
_NULLS = ("NAType", "NaTType", "MaskedConstant")  # pandas' and NumPy's; neither need be installed or imported


@runtime_checkable
class _Array(Protocol):
    """An array or a scalar of NumPy, PyTorch, JAX, or a pandas Series."""

    def tolist(self) -> object: ...


def plain_columns(columns: Mapping[Any, object]) -> dict[str, object]:
    """The columns of a row with plain values and text for names.

    Raises:
        DataError: A value is nested too deep.
    """
    try:
        return {str(name): plain(value) for name, value in columns.items()}
    except RecursionError:
        raise DataError("a value is nested too deeply; correct the row") from None


def plain(value: object) -> object:
    """A value as Python's own: arrays and sets as lists, scalars by value; NaN and every library's null as None."""
    if type(value) in _PLAIN:
        return value
    if type(value).__name__ in _NULLS:
        return None
    if isinstance(value, str):  # numpy.str_ and other subclasses
        return str.__str__(value)  # of a member of an enumeration its text, not its name
    if isinstance(value, int):  # the same of numbers
        return int(value)
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value), key=str)
    return _foreign(value)


def is_blank(value: object) -> bool:
    """Whether a cell has nothing to read: null, or text of white space alone."""
    return value is None or (isinstance(value, str) and not value.strip())


def as_whole(value: object) -> int | None:
    """The integer that a number is, of whatever type; None: it is none, or a decimal of more than a hundred digits."""
    if isinstance(value, Decimal):
        is_whole = value.is_finite() and value.adjusted() < _MOST_DIGITS and value == value.to_integral_value()
        return int(value) if is_whole else None
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _foreign(value: object) -> object:
    if isinstance(value, pyarrow.Scalar):
        return plain(value.as_py())
    if isinstance(value, _Array):
        listed = value.tolist()
        return listed if type(listed) is type(value) else plain(listed)
    is_nan = isinstance(value, float) or type(value).__name__ == "Decimal"
    return None if is_nan and value != value else value
