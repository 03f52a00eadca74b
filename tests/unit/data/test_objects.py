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

from dhrd.config import DataSettings
from dhrd.data.labels import Shares
from dhrd.data.objects import as_rows
from dhrd.data.records import Example
from dhrd.data.sources import open_source
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


_MAPPED = {
    **{"input_text": "text", "label": "category", "group": "customer", "id": "number", "weight": "w"},
    "rationale": "why",
}
_RAW = {
    **{"text": "bag 1", "category": "x", "customer": "c7", "number": "n3", "w": 2, "why": "It is."},
    **{"label": "Acme", "group": "shoes", "id": "A-1", "weight": "11 kg", "rationale": "none of ours"},
}


@pytest.mark.parametrize("columns", [_MAPPED, {name: _MAPPED[name] for name in ("label", "weight")}])
@pytest.mark.parametrize(
    "template", ["{{ label }} {{ group }}: {{ text }}", "{{ text }} weighs {{ weight }}", "{{ row }}", "{{ text }}"]
)
def test_an_example_is_read_as_the_row_that_it_came_from(columns: dict[str, str], template: str) -> None:
    """Of a column with the name of a field that another column is, a template must not get the label."""
    settings = DataSettings(columns=columns, input_template=template)
    (once,) = open_source([_RAW], settings).load()
    (twice,) = open_source([once], settings).load()
    assert replace(twice, fields=once.fields) == once and twice.columns() == once.columns()
    changed = replace(once, label="y", weight=1.0, rationale=None, group="c8", id="n4")
    (row,) = open_source([changed], settings).load()
    assert (row.label, row.weight, row.rationale, row.group, row.id) == ("y", 1.0, None, "c8", "n4")
    assert row.rendered == twice.rendered == once.rendered and row.digest == once.digest


def test_an_example_with_another_text_is_read_with_it() -> None:
    settings = DataSettings(columns={"input_text": "text"}, input_template="{{ input_text }} = {{ text }}")
    (row,) = open_source([{"text": "a", "label": "x"}], settings).load()
    (other,) = open_source([replace(row, input_text="b")], settings).load()
    assert other.rendered is not None and (other.input_text, other.rendered[1]) == ("b", "b = b")


def test_an_example_made_by_hand_needs_no_column() -> None:
    """Its fields are what a template may read, by either name."""
    settings = DataSettings(columns=_MAPPED, input_template="{{ group }} {{ customer }}: {{ text }}")
    example = Example(input_text="bag", label="x", group="c1", weight=3.0)
    (row,) = open_source([example], settings).load()
    assert row.rendered is not None and row.rendered[1] == "c1 c1: bag"
    assert (row.label, row.group, row.weight, row.rationale) == ("x", "c1", 3.0, None)
    with pytest.raises(DataError, match=r"weight: -1\.0 is not a number of at least 0"):
        open_source([replace(example, weight=-1.0)], settings).load()


def test_what_an_example_leaves_open_its_columns_say() -> None:
    """One made by hand, whose fields have the mapped columns; what it says itself goes before them."""
    columns = {"user": "u1", "w": 2, "y": "x", "nr": "7"}
    mapped = {"group": "user", "weight": "w", "label": "y", "id": "nr"}
    (row,) = read([Example(input_text="a", fields=columns)], data__columns=mapped)
    assert (row.label, row.group, row.weight, row.id) == ("x", "u1", 2.0, "7")
    own = Example(input_text="a", fields=columns, label="z", group="u2", weight=0.5, id="8")
    (row,) = read([own], data__columns=mapped)
    assert (row.label, row.group, row.weight, row.id) == ("z", "u2", 0.5, "8")
