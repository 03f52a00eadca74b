"""What the columns of rows hold: how many values, of how many words, and whether they are text or numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from dhrd.data.label_names import Shares, as_label
from dhrd.data.row import BadRow, Row
from dhrd.data.values import as_whole, is_blank, plain_columns

MAX_ROWS = 20_000
"""Rows that are looked at: enough to tell what a column is."""

WORDS_OF_TEXT = 3.0  # on average: fewer are a name, a number or a class
_UNSPACED = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Letters of scripts without spaces between words: Thai to Tibetan, Burmese, Khmer, Japanese, Chinese."""
_TIME = r"\d{1,2}:\d{2}(:\d{2})?"
_DATE = re.compile(
    rf"(\d{{4}}([-./])\d{{1,2}}\2\d{{1,2}}|\d{{1,2}}([-./])\d{{1,2}}\3(\d{{4}}|\d{{2}}))([T ]{_TIME}.*)?|{_TIME}"
    r"|\d{4}[-/]\d{1,2}|\d{1,2}[-/]\d{4}"
)
"""2024-01-31, 31.01.24, 1/31/2024 09:15, 09:15, 2024-01; no number, and no version such as 1.2.3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnLook:
    """What a column holds.

    Args:
        name: Name of the column.
        num_rows: Number of rows examined.
        num_present: Number of these that have the column, whatever its value.
        num_filled: Number of these whose value is not null or blank.
        num_distinct: Number of distinct values, spelled as labels are: "yes " is "yes"; those of lists one by one.
        num_repeated: Number of these that several rows have.
        mean_words: Mean number of words of the values that are text.
        is_text: Whether all values are text, not numbers or lists.
        is_number: Whether all values are numbers, or spell them.
        is_date: Whether all values are text that spells dates or times.
        is_label: Whether all values can be labels.
        is_key: Whether all values are text or whole numbers, and no text spells a fraction where all spell numbers.
    """

    name: str
    num_rows: int
    num_present: int = 0
    num_filled: int = 0
    num_distinct: int = 0
    num_repeated: int = 0
    mean_words: float = 0.0
    is_text: bool = False
    is_number: bool = False
    is_date: bool = False
    is_label: bool = False
    is_key: bool = False

    @property
    def is_always_filled(self) -> bool:
        """Whether no row lacks it."""
        return self.num_filled == self.num_rows

    @property
    def reads_as_text(self) -> bool:
        """Whether it is text of several words."""
        return self.is_text and not self.is_number and self.mean_words >= WORDS_OF_TEXT


@dataclass(slots=True)
class _Count:
    """A column while its rows are read."""

    num_present: int = 0
    num_filled: int = 0
    num_texts: int = 0
    num_numbers: int = 0
    num_dates: int = 0
    num_labels: int = 0
    num_keys: int = 0
    num_fractions: int = 0
    num_words: int = 0
    values: Counter[str] = field(default_factory=Counter)

    def add(self, value: object) -> None:
        self.num_present += 1
        if is_blank(value):
            return
        self.num_filled += 1
        names = _names_of(value)
        self.values.update([repr(value)] if names is None else names)
        self.num_labels += names is not None
        self.num_numbers += _is_number(value)
        self.num_keys += isinstance(value, str) or as_whole(value) is not None
        self.num_fractions += _is_number(value) and not _is_whole(value)
        if isinstance(value, str):
            self.num_texts += 1
            self.num_dates += _DATE.fullmatch(value.strip()) is not None
            self.num_words += sum(map(_num_words, value.split()))

    def look(self, name: str, num_rows: int) -> ColumnLook:
        filled = self.num_filled
        return ColumnLook(
            name=name,
            num_rows=num_rows,
            num_present=self.num_present,
            num_filled=filled,
            num_distinct=len(self.values),
            num_repeated=sum(count > 1 for count in self.values.values()),
            mean_words=self.num_words / self.num_texts if self.num_texts else 0.0,
            is_text=0 < filled == self.num_texts,
            is_number=0 < filled == self.num_numbers,
            is_date=0 < filled == self.num_dates,
            is_label=0 < filled == self.num_labels,
            is_key=0 < filled == self.num_keys and not (filled == self.num_numbers and self.num_fractions),
        )


def look_at_columns(rows: Iterable[Row | BadRow]) -> list[ColumnLook]:
    """The columns of the first rows, in their order; rows that cannot be read are passed over."""
    counts: dict[str, _Count] = {}
    num_rows = 0
    for row in islice(rows, MAX_ROWS):
        if isinstance(row, Row):
            num_rows += 1
            for name, value in plain_columns(row.columns).items():
                counts.setdefault(name, _Count()).add(value)
    return [count.look(name, num_rows) for name, count in counts.items()]


def _num_words(part: str) -> int:
    """Words of a text without spaces: one, or about as many as half of its letters where words are not spaced."""
    return max(1, len(_UNSPACED.findall(part)) // 2)


def _is_whole(number: object) -> bool:
    """Whether a number is whole, or spelled as one: 7.0 and "007" are."""
    return as_whole(number) is not None or as_whole(float(number)) is not None  # type: ignore[arg-type]


def _names_of(value: object) -> Sequence[str] | None:
    """The labels that a value names; None: it can be none."""
    try:
        label = as_label(value)
    except ValueError:
        return None
    return (label,) if isinstance(label, str) else label.names if isinstance(label, Shares) else label


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(value, bool)
