"""Rows and tables of Python: what is one, what is taken row by row, what is refused. Letters name reported cases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import datasets
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from dhrd.data.labels import Shares
from dhrd.data.objects import as_rows
from dhrd.data.records import Example
from dhrd.errors import DataError
from helpers.reading import error_of, load, read, refused
from helpers.tables import TABLES, TEXTS, as_dataset


class _Frame(pd.DataFrame):
    pass


class _Table:
    """A table of a library that nobody here has heard of."""

    columns = ("input_text", "n")

    def __iter__(self) -> Any:
        return iter(self.columns)


def test_s3_a_table_of_a_type_of_its_own_is_taken_row_by_row() -> None:
    found = read(_Frame({"input_text": ["a", "b"], "label": ["x", "y"]}))
    assert [(one.input_text, one.label) for one in found] == [("a", "x"), ("b", "y")]


def test_s3_a_table_of_an_unknown_library_is_refused() -> None:
    with pytest.raises(DataError, match="got a _Table, a table of an unknown type; give its rows as dicts"):
        as_rows(_Table())


def test_s3_one_row_of_a_frame_is_no_sequence_of_texts() -> None:
    frame = pd.DataFrame({"input_text": ["a"], "label": ["x"]})
    assert "one row of a table; give row.to_dict()" in refused(frame.iloc[0], labels_required=False)
    assert [one.input_text for one in read(frame["input_text"], labels_required=False)] == ["a"]


def test_s3_a_reader_of_record_batches_is_read_once() -> None:
    table = pyarrow.table({"input_text": ["a", "b"], "label": ["x", "y"]})
    assert [one.input_text for one in read(table.to_reader())] == ["a", "b"]
    assert [one.input_text for one in read(table.to_batches()[0])] == ["a", "b"]


@pytest.mark.parametrize("kind", TABLES)
def test_s3_s4_l15_a_table_is_taken_row_by_row(kind: str) -> None:
    assert [row.input_text for row in load(TABLES[kind](), labels_required=False)] == TEXTS


def test_s4_columns_of_different_lengths_and_splits_are_refused() -> None:
    with pytest.raises(DataError, match=r"a dict of lists of different lengths \(1, 2\)"):
        as_rows({"input_text": ["a"], "n": [1, 2]})
    splits = datasets.DatasetDict({"train": as_dataset()})
    for given in (splits, dict(splits), {"train": [{"input_text": "a"}]}, {"train": pd.DataFrame({"a": [1]})}):
        with pytest.raises(DataError, match="the data set is a mapping of train; give one split of it"):
            as_rows(given)
    assert list(as_rows({"input_text": "a", "turns": ["b"]})) == [{"input_text": "a", "turns": ["b"]}], "one row"


def test_iterators_of_python_are_read_lazily() -> None:
    def endless() -> Iterator[dict[str, str]]:
        number = 0
        while True:
            yield {"input_text": f"text {number}", "label": "x"}
            number += 1

    assert len(load(endless(), limit=5)) == 5


def test_an_examples_shares_are_wanted_by_name() -> None:
    """In the order of a label set they would be read only where the reader has the same one."""
    example = Example(input_text="a", label="x", shares=(0.6, 0.4))
    assert "shares: give them as the label, by name" in error_of([example])
    (row,) = load([replace(example, shares=None, label={"x": 0.6, "y": 0.4})])
    assert row.label == Shares(("x", "y"), (0.6, 0.4))
