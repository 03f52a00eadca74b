"""Streaming: the next window of rows is tokenised in a thread while the model runs on the current one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np

from dhrd._text import message_of
from dhrd.config.section import check_count
from dhrd.data.inputs import EncodedInput
from dhrd.data.records import Example
from dhrd.errors import DataError

Row = TypeVar("Row")
Encode = Callable[[Sequence[Row], int], list[EncodedInput]]

_WINDOW_CHARACTERS = 1 << 24


@dataclass(frozen=True, slots=True)
class Window(Generic[Row]):
    """A window of encoded rows.

    Args:
        rows: The rows as given, up to the first that cannot be used.
        inputs: Their tokens.
        failure: The error that ended the rows early; the rows before it are still delivered.
        refused: Rows that cannot be used, if bad rows are skipped.
        is_last: Whether no rows follow.
    """

    rows: Sequence[Row]
    inputs: Sequence[EncodedInput]
    failure: DataError | None = None
    refused: Sequence[tuple[Row, DataError]] = ()
    is_last: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the window is complete and more rows follow."""
        return self.failure is None and not self.is_last


@dataclass(frozen=True, slots=True)
class Scored(Generic[Row]):
    """A window of rows with the classification head's probabilities.

    Args:
        rows: The rows as given.
        inputs: Their tokens.
        probabilities_BC: Probabilities, (rows, C).
        refused: Rows that cannot be used, if bad rows are skipped.
        is_whole: Whether the window is complete and more rows follow.
    """

    rows: Sequence[Row]
    inputs: Sequence[EncodedInput]
    probabilities_BC: np.ndarray
    refused: Sequence[tuple[Row, DataError]] = ()
    is_whole: bool = True


def encoded_windows(
    rows: Iterable[Row], encode: Encode[Row], size: int, *, skip: bool = False
) -> Iterator[Window[Row]]:
    """Yield encoded windows of rows, in order, reading at most two windows ahead.

    Rows are read in the caller's thread, to which a source (such as a database cursor) may be bound.

    Args:
        rows: Any number of rows.
        encode: Encodes rows, given them and the number of the first.
        size: Rows per window; fewer if they are large.
        skip: Skip rows that cannot be encoded, instead of ending before the first.

    Raises:
        ConfigError: `size`, the user's `window`, is not a positive integer.
    """
    size = check_count("window", size)
    iterator, first = iter(rows), 0
    pending: Future[Window[Row]] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="dhrd-tokenize") as pool:
        while True:
            chunk, failure, last = _take(iterator, size, first)
            if last and pending is None:  # nothing to overlap with
                yield replace(_encoded(chunk, failure, encode, first, skip), is_last=True)
                return
            following = pool.submit(_encoded, chunk, failure, encode, first, skip)
            if pending is not None:
                done = pending.result()
                yield done
                if done.failure is not None:
                    return
            pending, first = following, first + len(chunk)
            if last:
                yield replace(pending.result(), is_last=True)
                return


def _take(iterator: Iterator[Row], size: int, first: int) -> tuple[list[Row], DataError | None, bool]:
    """The next rows, the error that ended them early, and whether they are the last."""
    rows: list[Row] = []
    num_characters = 0
    try:
        for row in islice(iterator, size):
            rows.append(row)
            num_characters += text_length(row)
            if num_characters > _WINDOW_CHARACTERS:
                return rows, None, False
    except DataError as error:
        return rows, error, True
    except Exception as error:  # any error of a user's source; the rows before it must still be delivered
        failure = DataError(f"row {first + len(rows)}: reading failed ({type(error).__name__}: {message_of(error)})")
        failure.__cause__ = error
        return rows, failure, True
    return rows, None, len(rows) < size


def text_length(row: Any) -> int:
    """Number of characters in a text, an `Example` or columns; 0 for anything else."""
    if isinstance(row, str):
        return len(row)
    values = row.columns() if isinstance(row, Example) else row
    return sum(len(value) for value in values.values() if isinstance(value, str)) if isinstance(values, Mapping) else 0


def _encoded(chunk: list[Row], failure: DataError | None, encode: Encode[Row], first: int, skip: bool) -> Window[Row]:
    try:
        return Window(chunk, encode(chunk, first), failure)
    except DataError:
        rows, inputs, refused = _each_encoded(chunk, encode, first, skip)
        if not refused:
            raise  # rows that fail only together indicate a bug, which must not be hidden
        return Window(rows, inputs, failure, refused) if skip else Window(rows, inputs, refused[0][1])


def _each_encoded(
    chunk: list[Row], encode: Encode[Row], first: int, skip: bool
) -> tuple[list[Row], list[EncodedInput], list[tuple[Row, DataError]]]:
    """Encode rows one by one; collect those that fail or, without `skip`, stop at the first."""
    rows: list[Row] = []
    inputs: list[EncodedInput] = []
    refused: list[tuple[Row, DataError]] = []
    for index, row in enumerate(chunk):
        try:
            inputs.extend(encode([row], first + index))
            rows.append(row)
        except DataError as error:
            refused.append((row, error))
            if not skip:
                break
    return rows, inputs, refused
