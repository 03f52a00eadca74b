"""Readers: every kind of file to the same rows, each bad row named by its place, constant memory."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from dhrd.data.readers import read_file
from dhrd.data.row import BadRow, Row
from dhrd.data.sources import open_source
from dhrd.errors import DataError
from helpers.reading import PLAIN, columns, error_of, problems, write, write_delimited
from helpers.rows import write_jsonl

ROWS = [
    {"input_text": "A plain row", "label": "yes"},
    {"input_text": 'Quotes ", commas, and\nnew lines', "label": "no"},
    {"input_text": "Ünïcödé 🙂 \u2028 and separators", "label": "001"},
]
UNQUOTED = [ROWS[0], {"input_text": 'A 5" screen, and commas', "label": "no"}, ROWS[2]]


def write_json(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


WRITERS: dict[str, Callable[[Path, list[dict[str, Any]]], Path]] = {
    "rows.json": write_json,
    "rows.jsonl": write_jsonl,
    "rows.csv": write_delimited,
    "rows.tsv": write_delimited,
    "rows.parquet": write_parquet,
    "ROWS.JSONL": write_jsonl,
}


def places(path: Path) -> list[str]:
    return [item.where.removeprefix(f"{path}:") for item in read_file(path)]


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    rows = UNQUOTED if name.endswith(".tsv") else ROWS  # .tsv has no quotes: neither tabs nor line ends in a text
    path = WRITERS[name](tmp_path / name, rows)
    assert [item for item in read_file(path) if isinstance(item, BadRow)] == []
    assert columns(path) == rows


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rows.json", ["2", "6", "10"]),
        ("rows.jsonl", ["1", "2", "3"]),
        ("rows.csv", ["2", "3", "5"]),  # the second row's text holds a new line
        ("rows.tsv", ["2", "3", "4"]),
        ("rows.parquet", ["row 1", "row 2", "row 3"]),
    ],
)
def test_rows_know_the_line_they_begin_at(tmp_path: Path, name: str, expected: list[str]) -> None:
    assert places(WRITERS[name](tmp_path / name, UNQUOTED if name.endswith(".tsv") else ROWS)) == expected


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.csv"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name, ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert columns(path) == ROWS


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_windows_line_ends_and_a_missing_last_one(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name, [ROWS[0], ROWS[2]])
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
    assert columns(path) == [ROWS[0], ROWS[2]]
    assert len(places(path)) == 2


def test_json_and_parquet_keep_their_types(tmp_path: Path) -> None:
    rows = [{"input_text": "a", "label": 1, "tags": ["x"], "score": 0.5, "note": None, "known": True}]
    for name in ("rows.json", "rows.jsonl", "rows.parquet"):
        assert columns(WRITERS[name](tmp_path / name, rows)) == rows


def test_blank_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n   \n{"a": 2}\n', encoding="utf-8")
    assert places(path) == ["1", "4"]
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n\n3,4\n", encoding="utf-8")
    assert places(path) == ["2", "4"]


def test_empty_files_have_no_rows(tmp_path: Path) -> None:
    for name, text in (("a.jsonl", ""), ("a.csv", ""), ("b.csv", "input_text,label\n"), ("a.json", " [ ]\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert list(read_file(tmp_path / name)) == []


def test_parquet_that_is_none_or_cut_short(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "rows.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"rows\.parquet: not a readable Parquet file"):
        list(read_file(path))


def test_bad_bytes_in_parquet_name_the_row(tmp_path: Path) -> None:
    good, bad = b"abc", b"\xff\xfe\xfd"
    raw = pyarrow.array([good, bad, good], pyarrow.binary())
    text = pyarrow.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": text}), path, use_dictionary=False)
    assert columns(path) == [{"text": "abc"}] * 2
    ((where, problem),) = problems(path).items()
    assert where == f"{path}:row 2"
    assert "not valid UTF-8" in problem


def test_an_unknown_kind_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.xlsx: unknown file type; use one of .csv, .json, .jsonl, .parquet"):
        list(read_file(tmp_path / "rows.xlsx"))
    for name in ("rows.jsonl", "rows.parquet"):
        with pytest.raises(DataError, match=f"{name}: no such file"):
            list(read_file(tmp_path / name))
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match="the directory contains no file of rows"):
        list(read_file(tmp_path / "folder.jsonl"))


def peak_bytes(path: Path, num_rows: int) -> int:
    tracemalloc.start()
    try:
        assert sum(isinstance(row, Row) for row in read_file(path)) == num_rows
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_text_is_streamed_in_constant_memory(tmp_path: Path, name: str) -> None:
    line = {"rows.jsonl": '{"input_text": "a text", "label": "yes"}\n', "rows.csv": "a text,yes\n"}
    header = {"rows.jsonl": "", "rows.csv": "input_text,label\n"}
    peaks = []
    for num_rows in (5_000, 50_000):
        path = tmp_path / f"{num_rows}-{name}"
        path.write_text(header[name] + line[name] * num_rows, encoding="utf-8")
        peaks.append(peak_bytes(path, num_rows))
    assert peaks[1] < 1.2 * peaks[0] + 50_000
    assert peaks[1] < 1_000_000


@pytest.mark.parametrize("rows_per_group", [2_000, 1_000_000])
def test_parquet_is_streamed_in_constant_memory(tmp_path: Path, rows_per_group: int) -> None:
    # Arrow's own memory does not pass through tracemalloc; its pool counts it.
    pool, peaks = pyarrow.default_memory_pool(), []
    for num_rows in (10_000, 100_000):
        path = tmp_path / f"{num_rows}.parquet"
        texts = pyarrow.array([f"{i} " + "some text of a row " * 10 for i in range(num_rows)])
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path, row_group_size=rows_per_group)
        del texts
        before, seen, peak = pool.bytes_allocated(), 0, 0
        for _ in read_file(path):
            seen += 1
            if seen % 500 == 0:
                peak = max(peak, pool.bytes_allocated() - before)
        assert seen == num_rows
        peaks.append(peak)
    assert 0 < peaks[1] < 1.2 * peaks[0] + 50_000


def test_l12_two_columns_of_one_name_are_refused_in_every_reader(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 3, names=["input_text", "label", "label"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    write(tmp_path / "a.csv", "input_text,label,label\na,x,y\n")
    write(tmp_path / "a.tsv", "input_text\tlabel\tlabel\na\tx\ty\n")
    frame = pd.DataFrame([["a", "x", "y"]], columns=["input_text", "label", "label"])
    for spec in (*(tmp_path / f"a.{kind}" for kind in ("parquet", "csv", "tsv")), table, frame):
        assert "two columns have the same name: input_text, label, label" in error_of(spec)


PLACES = ["directory of Parquet", "directory of JSONL", ".jsonl.gz", ".csv.gz", ".tsv.gz", ".json.gz", ".parquet.gz"]


@pytest.mark.parametrize("kind", PLACES)
def test_l21_f19_directories_and_gzipped_files_are_read(tmp_path: Path, kind: str) -> None:
    rows = [{"input_text": f"text {i}", "label": "xy"[i % 2]} for i in range(4)]
    path = tmp_path / f"rows{kind}" if kind.startswith(".") else tmp_path / "rows"
    if not kind.startswith("."):
        path.mkdir()
        (path / "_SUCCESS").touch()
    if kind == "directory of Parquet":
        for i in (0, 1):
            table = pyarrow.Table.from_pylist(rows[2 * i : 2 * i + 2])
            pyarrow.parquet.write_table(table, path / f"part-{i}.parquet")
    elif kind == "directory of JSONL":
        for i in (1, 0):
            write_jsonl(path / f"part-{i}.jsonl", rows[2 * i : 2 * i + 2])
    else:
        path.write_bytes(gzip.compress(_as_file(kind.split(".")[1], rows)))
    assert [row.columns for row in read_file(path) if isinstance(row, Row)] == rows


def _as_file(kind: str, rows: list[dict[str, Any]]) -> bytes:
    if kind == "parquet":
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
        return sink.getvalue()
    if kind == "json":
        return json.dumps(rows).encode()
    if kind == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    delimiter = "," if kind == "csv" else "\t"
    return "".join(delimiter.join(line) + "\n" for line in (rows[0], *(row.values() for row in rows))).encode()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "the directory contains no file of rows"),
        (["a.jsonl", "b.csv"], r"the directory contains several types of file \(.csv, .jsonl\); name the file"),
        (["train.jsonl", "test.jsonl"], r"the directory contains several splits \(test, train\); name the file"),
    ],
)
def test_l21_a_directory_that_is_not_one_set_of_rows_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        write(tmp_path / name, "")
    with pytest.raises(DataError, match=message):
        list(read_file(tmp_path))


def test_f19_a_gzipped_file_that_is_cut_is_one_line(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"input_text": "a", "label": "x"}\n' * 1000)
    for content in (whole[:-30], b"not gzip at all", b""):
        path = write(tmp_path / "a.jsonl.gz", content)
        assert "\n" not in error_of(path)


@pytest.mark.parametrize("kind", ["timestamp", "schema"])
def test_a15_odd_parquet_is_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.parquet"
    times = pyarrow.array([2**62, 0], pyarrow.timestamp("us"))
    table = pyarrow.table({"input_text": ["a", "b"], "label": ["x", "y"], "time": times})
    pyarrow.parquet.write_table(table, path)
    if kind == "schema":
        path.write_bytes(path.read_bytes().replace(b"input_text", b"input_\xff\xfe\xfdt"))
    for labels_required in (True, False):
        found = error_of(path, labels_required=labels_required)
        assert "\n" not in found
        assert ("a value cannot be read" if kind == "timestamp" else "not ") in found


def test_f19_a_pipe_is_read_as_json_lines_and_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text('{"input_text": "a", "label": "x"}\n'))
    writer.start()
    source = open_source(pipe, PLAIN)
    assert [row.input_text for row in source.load()] == ["a"]
    writer.join()
    with pytest.raises(DataError, match="a stream can be read only once, but this reads it several times"):
        source.load()
