"""Forms of files: what a window of predictions becomes."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dhrd.data.records import LabelSet
from dhrd.errors import DataError
from dhrd.run.predict.tables import Columns, Csv, JsonLines, Parquet, Table

COLUMNS = Columns(labels=LabelSet(("a", "b, c")), keep=("n", "note"), abstains=True, has_sets=True)


def record(index: int, **more: Any) -> dict[str, Any]:
    own = {"id": f"r{index}", "label": "a", "abstained": False, "probabilities": {"a": 0.75, "b, c": 0.25}}
    return own | {"label_set": ["a"], "n": index, "note": 'say "é"\n'} | more


def written(table: Table, directory: Path, *windows: list[dict[str, Any]]) -> Path:
    """The file of some windows."""
    head = table.head(windows[0] if windows else [])
    appended = directory / "rows"
    appended.write_bytes(head + b"".join(part for window in windows for part in table.rows(window, head)))
    return table.finish(appended)


def test_names_stand_in_order() -> None:
    assert COLUMNS.names == ("id", "label", "abstained", "probabilities", "label_set", "n", "note")
    assert Columns(labels=COLUMNS.labels).names == ("id", "label", "probabilities")


def test_json_lines(tmp_path: Path) -> None:
    rows = [record(0), record(1, note="\ud83d")]
    lines = written(JsonLines(), tmp_path, rows[:1], rows[1:]).read_text().splitlines()
    assert json.loads(lines[0]) == rows[0]
    assert json.loads(lines[1])["note"] == "\ud83d"


def test_gzipped_windows_are_one_file_and_the_same_each_time(tmp_path: Path) -> None:
    content = written(JsonLines(gzipped=True), tmp_path, [record(0)], [record(1)]).read_bytes()
    assert [json.loads(line)["id"] for line in gzip.decompress(content).splitlines()] == ["r0", "r1"]
    assert written(JsonLines(gzipped=True), tmp_path, [record(0)], [record(1)]).read_bytes() == content


def test_csv(tmp_path: Path) -> None:
    with written(Csv(COLUMNS), tmp_path, [record(0), record(1, label=None, abstained=True, note=None)]).open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "id": "r0", "label": "a", "abstained": "false", "p_a": "0.75", "p_b, c": "0.25", "label_set": '["a"]', "n": "0",
        "note": 'say "é"\n',
    }  # fmt: skip
    assert (rows[1]["label"], rows[1]["abstained"], rows[1]["note"]) == ("", "true", "")


@pytest.mark.parametrize("text", ["a\rb", "a\r\nb", "a\nb", "\r"])
def test_every_end_of_a_line_within_a_cell_is_in_quotes(tmp_path: Path, text: str) -> None:
    path = written(Csv(COLUMNS), tmp_path, [record(0, note=text, id=text)])
    assert b"\r\n" not in path.read_bytes().replace(text.encode(), b"")
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["id"], row["note"]) == (text, text)


def test_parquet_holds_types(tmp_path: Path) -> None:
    path = written(Parquet(COLUMNS), tmp_path, [record(0)], [record(1, label=None, n=None)])
    table = pq.read_table(path)
    assert table.schema.field("probabilities").type == pa.struct([("a", pa.float64()), ("b, c", pa.float64())])
    assert table.schema.field("n").type == pa.int64()
    assert table.to_pylist() == [record(0), record(1, label=None, n=None)]
    assert pq.read_metadata(path).num_row_groups == 1


def test_kept_values_of_several_types_are_text(tmp_path: Path) -> None:
    rows = [record(0, n="one"), record(1, n=2), record(2, n=[3])]
    assert pq.read_table(written(Parquet(COLUMNS), tmp_path, rows))["n"].to_pylist() == ["one", "2", "[3]"]


def test_text_holds_values_without_marks_of_their_own(tmp_path: Path) -> None:
    values = [None, datetime(2025, 11, 2, 8, 30), Decimal("1.50"), 2.5, True, "two", {"on": date(2025, 11, 2)}, inf]
    rows = [record(index, n=value) for index, value in enumerate(values)]
    assert pq.read_table(written(Parquet(COLUMNS), tmp_path, rows[:1], rows[1:]))["n"].to_pylist() == [
        None, "2025-11-02 08:30:00", "1.50", "2.5", "true", "two", '{"on": "2025-11-02"}', "inf"
    ]  # fmt: skip


def test_another_type_than_the_first_ones_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'n': a value is not a int64"):
        written(Parquet(COLUMNS), tmp_path, [record(0)], [record(1, n="one")])


@pytest.mark.parametrize(
    ("first", "later"), [(1, 2.5), (1, 2**70), ([1], [2.5]), (True, 2), (2.5, 2**60 + 1), (1, "2")]
)
def test_no_value_is_bent_to_the_type_of_the_first_ones(tmp_path: Path, first: object, later: object) -> None:
    with pytest.raises(DataError, match="column 'n': a value is not a "):
        written(Parquet(COLUMNS), tmp_path, [record(0, n=first)], [record(1, n=later)])


def test_there_is_room_for_later_values(tmp_path: Path) -> None:
    """Of decimals with more digits before the point, and of times with all that they have."""
    for first, later in [
        (Decimal("9.99"), Decimal("100.00")),
        (pd.Timestamp("2025-11-02 08:30"), pd.Timestamp("2025-11-02 08:30:00.000000001")),
        (pd.Timedelta(1, "ns"), pd.Timedelta(2, "D")),
        (datetime(9999, 12, 31), datetime(1, 1, 1, microsecond=1)),
        (pd.Timestamp("9999-12-31"), pd.Timestamp("2025-11-02")),
    ]:
        path = written(Parquet(COLUMNS), tmp_path, [record(0, n=first)], [record(1, n=later), record(2, n=None)])
        assert pq.read_table(path)["n"].to_pylist() == [first, later, None]


def test_the_type_that_the_input_says_goes_before_the_first_values(tmp_path: Path) -> None:
    columns = replace(COLUMNS, types={"n": pa.float32()})
    path = written(Parquet(columns), tmp_path, [record(0, n=None)], [record(1, n=1.5)])
    assert pq.read_table(path)["n"].to_pylist() == [None, 1.5]
    assert pq.read_schema(path).field("n").type == pa.float32()


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ({}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([], [1]),
        ([{"a": None}], [{"a": 1}]),
        (["\ud800"], ["x"]),
        ([[]], 1),
    ],
)
def test_objects_are_text_whole_in_every_window(tmp_path: Path, first: object, later: object) -> None:
    path = written(Parquet(COLUMNS), tmp_path, [record(0, n=first)], [record(1, n=later)])
    texts = pq.read_table(path)["n"].to_pylist()
    assert [json.loads(text) for text in texts] == [first, later]


def test_lists_of_values_stay_lists(tmp_path: Path) -> None:
    path = written(Parquet(COLUMNS), tmp_path, [record(0, n=["a"])], [record(1, n=[]), record(2, n=None)])
    assert pq.read_table(path)["n"].to_pylist() == [["a"], [], None]


@pytest.mark.parametrize("multi_label", [False, True])
def test_several_labels_are_a_list(tmp_path: Path, multi_label: bool) -> None:
    columns = Columns(labels=LabelSet(("a", "b"), multi_label=multi_label))
    row = {"id": "r", "label": ["a", "b"] if multi_label else "a", "probabilities": {"a": 0.9, "b": 0.8}}
    assert pq.read_table(written(Parquet(columns), tmp_path, [row])).to_pylist() == [row]


def test_no_rows_are_a_readable_file(tmp_path: Path) -> None:
    assert pq.read_table(written(Parquet(COLUMNS), tmp_path)).num_rows == 0
    assert len(written(Csv(COLUMNS), tmp_path).read_text().splitlines()) == 1
    content = written(JsonLines(gzipped=True), tmp_path).read_bytes()
    assert content and gzip.decompress(content) == b"", "a gzip file, and not one of no bytes"
