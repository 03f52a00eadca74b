"""What a label is: its text, the same from every format. A raw cell becomes a name, several, or shares of several."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from numbers import Real

from dhrd._text import LONGEST_VALUE, clipped, message_of, shown
from dhrd.data.values import as_whole, plain

# Space of any kind, and what is there without being seen: soft hyphen, zero-width and direction marks, byte order mark.
# Also control characters, with which other languages pad text, and letters that are blank: fillers, empty braille.
_BLANK = (
    r"[\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    r"\u2800\u3164\ufeff\uffa0]+"
)
_VARIATION = re.compile("[\ufe00-\ufe0f]")  # which of a character's pictures is meant: a heart in red or in black
_EDGES = re.compile(rf"\A{_BLANK}|{_BLANK}\Z")
_BLANKS = re.compile(_BLANK)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,37})")
_OBJECT = re.compile(r"\s*\{\s*[\"}]")
_HALF = re.compile("[\ud800-\udfff]")
_MOST_VOTES = 1e15  # beyond it floats are no longer counts, and sums of them no longer finite
_WHOLE = re.compile(rf"({_INTEGER.pattern})\.0+")


@dataclass(frozen=True, slots=True)
class Shares:
    """A label that is spread over several: votes, or probabilities.

    Args:
        names: Each once.
        values: Finite and not negative, as they were given.
    """

    names: tuple[str, ...]
    values: tuple[float, ...]


def clean_name(text: str) -> str:
    """A label's text as it counts: NFC, without space at its ends, a whole number without decimals ("1.0" is "1").

    Example:
        >>> clean_name(" spam "), clean_name("4.0")
        ('spam', '4')
    """
    name = _EDGES.sub("", unicodedata.normalize("NFC", text))
    whole = _WHOLE.fullmatch(name)
    return str(int(whole[1])) if whole else "0" if name == "-0" else name


def fold(name: str) -> str:
    """What two names share that differ in case, space or Unicode form alone."""
    return _VARIATION.sub("", _BLANKS.sub("", unicodedata.normalize("NFC", name.casefold())))


def as_integer(name: str) -> int | None:
    """The integer that a name spells, as a program writes it: "7", not "007"."""
    return int(name) if _INTEGER.fullmatch(name) and name != "-0" else None


def sort_names(names: Iterable[str]) -> list[str]:
    """Names in order: by number where all are integers, else as text."""
    given = list(names)
    if all(as_integer(name) is not None for name in given):
        return sorted(given, key=int)
    return sorted(given)


def as_label(value: object, separator: str | None = None) -> str | tuple[str, ...] | Shares | None:
    """A cell's label: a name, several as a tuple, shares of several, or None where it is blank or null.

    A tuple of "0" and "1" may hold one twice: it may be multi-hot, which the label set decides.

    Args:
        value: Text, a number (of NumPy too), a boolean, or a list, tuple, set or array of those; for shares a mapping
            from names to numbers, the pairs of one (a map of Parquet), or JSON text of one (a cell of CSV).
        separator: Splits text into several names; text without a name then is no label at all, `()`.

    Raises:
        ValueError: It is none of these; a name in a list is empty or there twice; a share is no number, or negative.
    """
    try:
        if isinstance(value, Shares):
            return value
        pairs = _pairs(value)
        return _as_label(plain(value), separator) if pairs is None else _shares(pairs, value)
    except (TypeError, RecursionError):
        raise ValueError(
            f"label: {shown(value)} is neither an integer, a name, nor a list of names; correct the row"
        ) from None


def _pairs(value: object) -> list[tuple[object, object]] | None:
    """The pairs of a mapping, in whatever form it is; None: it is none."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, str) and _OBJECT.match(value):
        try:
            pairs: list[tuple[object, object]] = json.loads(value, object_pairs_hook=list)
        except ValueError as error:
            raise ValueError(f"label: {shown(value)} is not valid JSON ({message_of(error)}); correct it") from None
        return pairs
    is_map = isinstance(value, list) and bool(value) and all(isinstance(p, tuple) and len(p) == 2 for p in value)
    return value if is_map else None  # type: ignore[return-value]


def _shares(pairs: Iterable[tuple[object, object]], given: object) -> Shares | None:
    """Shares by name; a null one is a field of a struct that this row does not have."""
    shares: dict[str, float] = {}
    for part, value in pairs:
        if value is None:
            continue
        name = _name(part)
        if not name or name in shares:
            what = f"{shown(name)} twice; name it once" if name else "an empty name; fill it in or remove it"
            raise ValueError(f"label: {shown(given)} has {what}")
        if _HALF.search(name):  # an escape in the JSON text of a cell
            raise ValueError(f"label: {shown(given)} has half of a surrogate pair, not text; correct the row")
        if not _is_share(value):
            raise ValueError(
                f"label: the share of {shown(name)} is {shown(value)}, not a number of at least 0; correct the row"
            )
        shares[name] = float(value)  # type: ignore[arg-type]
    return Shares(tuple(shares), tuple(shares.values())) if shares else None


def _is_share(value: object) -> bool:
    if isinstance(value, Decimal):  # whose NaN cannot be compared
        return value.is_finite() and 0 <= value < _MOST_VOTES
    return isinstance(value, Real) and not isinstance(value, bool) and bool(0 <= value < _MOST_VOTES)  # type: ignore[operator]


def _as_label(value: object, separator: str | None) -> str | tuple[str, ...] | None:
    if separator is not None and value is not None and not isinstance(value, list):
        text = _name(value)
        return _several(text.split(separator), value) if text else None if text is None else ()
    return _several(value, value) if isinstance(value, list) else _name(value) or None


def _name(value: object) -> str | None:
    """A name; None for a null.

    Raises:
        TypeError: It is of no kind that a label can be.
    """
    if value is None or isinstance(value, str):
        return value if value is None else clean_name(value)
    if isinstance(value, bool):
        return "true" if value else "false"  # JSON's words
    if isinstance(value, float | Decimal) and math.isnan(value):
        return None
    if (number := as_whole(value)) is not None:
        return str(number)
    raise TypeError(type(value))


def _several(values: Iterable[object], given: object) -> tuple[str, ...]:
    parts = list(values)
    if any(part is None for part in parts):
        raise TypeError(type(None))
    if any(isinstance(part, bool) for part in parts):
        raise ValueError(f"label: {shown(given)} has booleans; list the names, or write multi-hot as 0 and 1")
    names = [_name(part) or "" for part in parts]
    if "" in names:
        raise ValueError(f"label: {shown(given)} has an empty name; fill it in or remove it")
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None and not is_zeros_and_ones(names):
        raise ValueError(f"label: {shown(given)} has {shown(twice)} twice; name it once")
    return tuple(names)


def is_zeros_and_ones(names: Iterable[str]) -> bool:
    """Whether a list may be multi-hot."""
    return set(names) <= {"0", "1"}


def multi_hot_problem(values: Iterable[str]) -> str:
    """What to say of a list that may be multi-hot where it cannot be read so."""
    return (
        f"{bits(values)} looks like multi-hot, which needs a 0 or 1 for each name in data.labels (or in a ClassLabel); "
        "give data.labels=[…], or list the names in the rows"
    )


def bits(values: Iterable[str]) -> str:
    """A list of 0 and 1 for a message."""
    return f"[{clipped(', '.join(values), LONGEST_VALUE)}]"


def listed(names: Iterable[str]) -> str:
    """Names in quotes for a message, the first of them where they are many."""
    return spelled(map(shown, names))


def spelled(names: Iterable[str], most: int = 12) -> str:
    """The same without quotes."""
    given = list(names)
    return ", ".join(given[:most]) + (f" … ({len(given)} in all)" if len(given) > most else "")


@lru_cache(maxsize=64)
def places_of(names: tuple[str, ...]) -> Mapping[str, int]:
    """Each name's place; a name of an older artifact is found by its clean spelling too."""
    clean = {clean_name(name): place for place, name in reversed(list(enumerate(names)))}
    return clean | {name: place for place, name in enumerate(names)}
