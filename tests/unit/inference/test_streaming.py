"""Windows of rows: in order, tokenised ahead, cut short by size and by what fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from dhrd.data.inputs import EncodedInput
from dhrd.data.records import Example
from dhrd.errors import DataError
from dhrd.inference import streaming
from dhrd.inference.streaming import encoded_windows


def encode(rows: Sequence[Any], first: int) -> list[EncodedInput]:
    """A token a character; a row that says so cannot be encoded."""
    for number, row in enumerate(rows, first):
        if row == "bad":
            raise DataError(f"row {number}: bad")
    return [EncodedInput(str(row), [1] * len(str(row))) for row in rows]


def test_windows_hold_all_rows_in_order() -> None:
    rows = [f"row {number}" for number in range(10)]
    windows = list(encoded_windows(iter(rows), encode, 4))
    assert [list(window.rows) for window in windows if window.rows] == [rows[:4], rows[4:8], rows[8:]]
    assert [item.text for window in windows for item in window.inputs] == rows
    assert all(window.failure is None for window in windows)


def test_no_rows_are_one_window_of_none() -> None:
    (window,) = encoded_windows(iter([]), encode, 4)
    assert (list(window.rows), window.inputs, window.failure) == ([], [], None)


def test_a_row_that_cannot_be_encoded_ends_its_window() -> None:
    windows = list(encoded_windows(iter(["a", "b", "c", "bad", "d", "e"]), encode, 3))
    assert [row for window in windows for row in window.rows] == ["a", "b", "c"]
    assert str(windows[-1].failure) == "row 3: bad"


def test_what_a_source_raises_comes_after_the_rows_before_it() -> None:
    def source() -> Iterator[str]:
        yield from ("a", "b")
        raise OSError("the disk is gone")

    (window,) = encoded_windows(source(), encode, 8)
    assert list(window.rows) == ["a", "b"]
    assert str(window.failure) == "row 2: reading failed (OSError: the disk is gone)"
    assert isinstance(window.failure.__cause__, OSError)


def test_a_defect_of_encoding_several_rows_is_not_hidden() -> None:
    def together(rows: Sequence[Any], first: int) -> list[EncodedInput]:
        if len(rows) > 1:
            raise DataError("only together")
        return encode(rows, first)

    with pytest.raises(DataError, match="only together"):
        list(encoded_windows(iter(["a", "b"]), together, 4))


def test_large_rows_make_small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_WINDOW_CHARACTERS", 10)
    rows: list[Any] = ["x" * 8, {"text": "x" * 8, "number": 3}, Example(input_text="x" * 20), "y"]
    windows = list(encoded_windows(iter(rows), encode, 100))
    assert [len(window.rows) for window in windows if window.rows] == [2, 1, 1]


def test_the_next_window_is_encoded_in_another_thread() -> None:
    threads = set()

    def remembering(rows: Sequence[Any], first: int) -> list[EncodedInput]:
        threads.add(threading.current_thread().name.rstrip("0123456789_"))
        return encode(rows, first)

    assert sum(len(window.rows) for window in encoded_windows(iter("abcdef"), remembering, 2)) == 6
    assert threads == {"dhrd-tokenize"}
