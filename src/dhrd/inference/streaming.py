"""Stages that overlap: while one window of rows is in the model, the next is being tokenised in a thread."""

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
    """Rows that are in the model together.

    Args:
        rows: As they were given, up to the first that cannot be used.
        inputs: Their tokens.
        failure: What ended the rows before their time; those before it are still to be delivered.
        refused: Rows that cannot be used, where they are to be left out.
        is_last: Whether no rows come after it.
    """

    rows: Sequence[Row]
    inputs: Sequence[EncodedInput]
    failure: DataError | None = None
    refused: Sequence[tuple[Row, DataError]] = ()
    is_last: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the window has all its rows, and more come after it."""
        return self.failure is None and not self.is_last


@dataclass(frozen=True, slots=True)
class Scored(Generic[Row]):
    """Rows of a window with what the classification head gives them.

    Args:
        rows: As they were given.
        inputs: Their tokens.
        probabilities_BC: (rows, C).
        refused: Rows among them that cannot be used, where they are to be left out.
        is_whole: Whether the window has all its rows, and more come after it.
    """

    rows: Sequence[Row]
    inputs: Sequence[EncodedInput]
    probabilities_BC: np.ndarray
    refused: Sequence[tuple[Row, DataError]] = ()
    is_whole: bool = True


def encoded_windows(
    rows: Iterable[Row], encode: Encode[Row], size: int, *, skip: bool = False
) -> Iterator[Window[Row]]:
    """Rows in encoded windows, in order, at most two windows ahead of what was taken.

    Rows are read in the caller's thread: a source may belong to it (a database cursor, for one).

    Args:
        rows: Any number.
        encode: From rows and the first one's number to tokens.
        size: Rows of a window; it ends earlier where they are large.
        skip: Leave rows out that cannot be encoded, instead of ending before the first.

    Raises:
        ConfigError: `size`, the user's `window`, is no number of rows.
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
    """The next rows, the error that cut them short, and whether they are the last."""
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
    except Exception as error:  # whatever a user's source raises: rows before it must still be delivered
        failure = DataError(f"row {first + len(rows)}: reading failed ({type(error).__name__}: {message_of(error)})")
        failure.__cause__ = error
        return rows, failure, True
    return rows, None, len(rows) < size


def text_length(row: Any) -> int:
    """Characters of a row's texts: of a text, an `Example`, or columns; 0 of anything else."""
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
            raise  # the rows together fail where each alone does not: a defect of ours, not to be hidden
        return Window(rows, inputs, failure, refused) if skip else Window(rows, inputs, refused[0][1])


def _each_encoded(
    chunk: list[Row], encode: Encode[Row], first: int, skip: bool
) -> tuple[list[Row], list[EncodedInput], list[tuple[Row, DataError]]]:
    """Rows one by one, and those that cannot be encoded: all, or the first, which then is the end."""
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
