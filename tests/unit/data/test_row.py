"""A row as it is read, and what is said of rows."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from dhrd.data.row import BadRow, Remarks, Row


def test_a_remark_is_made_once_however_often_rows_are_read(caplog: pytest.LogCaptureFixture) -> None:
    remarks = Remarks()
    with caplog.at_level(logging.WARNING, logger="dhrd"):
        for message in ("100 % odd", "other", "100 % odd"):
            remarks(message)
        Remarks()("other")
    assert [record.getMessage() for record in caplog.records] == ["100 % odd", "other", "other"]


def test_rows_keep_their_place() -> None:
    row = Row("f:1", {"a": 1})
    assert dataclasses.replace(row, columns={}).where == "f:1"
    assert row != Row("f:2", {"a": 1})
    with pytest.raises(dataclasses.FrozenInstanceError):
        BadRow("f:1", "what").problem = "else"  # type: ignore[misc]
