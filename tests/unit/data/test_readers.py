"""Readers: every kind of file to the same rows, each bad row named by its place, constant memory."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from dhrd.data.readers import BadRow, Row, read_file
from dhrd.errors import DataError
from helpers.rows import write_jsonl

ROWS = [
    {"input_text": "A plain row", "label": "yes"},
    {"input_text": 'Quotes ", commas, and\nnew lines', "label": "no"},
    {"input_text": "Ünïcödé 🙂 \u2028 and separators", "label": "001"},
]
UNQUOTED = [ROWS[0], {"input_text": 'A 5" screen, and commas', "label": "no"}, ROWS[2]]


def write_delimited(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        is_tsv = path.suffix == ".tsv"
        quoting = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None} if is_tsv else {}
        writer = csv.DictWriter(file, list(rows[0]), **quoting)  # type: ignore[arg-type]
        writer.writeheader()
        writer.writerows(rows)
    return path


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


def problems(path: Path) -> dict[str, str]:
    return {item.where: item.problem for item in read_file(path) if isinstance(item, BadRow)}


def columns(path: Path) -> list[dict[str, Any]]:
    return [item.columns for item in read_file(path) if isinstance(item, Row)]


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


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_delimited_values_stay_text(tmp_path: Path, name: str) -> None:
    rows = [{"id": "001", "input_text": "1e5", "label": "NA"}, {"id": "1", "input_text": "true", "label": ""}]
    assert columns(write_delimited(tmp_path / name, rows)) == rows


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


def test_bad_lines_of_jsonl_are_named_and_reading_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        b'{"a": 1}\n{"a": 2\n["a"]\n"text"\n7\nnull\n{"a": "\xff"}\n{a: 1}\n{"a": '
        + b"9" * 5000
        + b"}\n"
        + b"[" * 200_000
        + b'\n{"a": 3}\n'
    )
    assert columns(path) == [{"a": 1}, {"a": 3}]
    found = problems(path)
    assert list(found) == [f"{path}:{line}" for line in range(2, 11)]
    assert "not valid JSON: Expecting ',' delimiter at column 8;" in found[f"{path}:2"]
    for line, kind in ((3, "a list"), (4, "text"), (5, "a number"), (6, "null")):
        assert found[f"{path}:{line}"].endswith(f"got {kind}")
        assert 'a row must be an object such as {"input_text": …, "label": …}' in found[f"{path}:{line}"]
    assert found[f"{path}:7"] == "not valid UTF-8 at byte 7; save the file as UTF-8"
    assert all("not valid JSON" in found[f"{path}:{line}"] for line in (8, 9, 10))


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('[\n {"a": 1},\n {"a": 2\n]', 4, "not valid JSON: Expecting ',' delimiter"),
        ('[\n {"a": 1},\n {"a"', 3, "not valid JSON"),
        ('[\n {"a": 1},\n', 3, "not valid JSON: Expecting value"),
        ('[{"a": 1}]\n[{"a": 2}]', 1, "text after the end of the array"),
        ('[{"a": 1},\n 5]', 2, "got a number"),
        ('[{"a": 1},\n' + "[" * 200_000, 2, "not valid JSON"),
    ],
)
def test_a_bad_place_in_an_array_is_named(tmp_path: Path, text: str, line: int, problem: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    assert columns(path) == [{"a": 1}]
    ((where, found),) = problems(path).items()
    assert where == f"{path}:{line}"
    assert problem in found


def test_an_array_with_bad_bytes_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b'[\n{"a": "x"},\n{"a": "caf\xe9"}\n]')
    assert problems(path) == {f"{path}:3": "not valid UTF-8 at byte 24; save the file as UTF-8"}


def test_json_lines_in_a_json_file_say_the_right_name(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.json", ROWS)
    with pytest.raises(DataError, match=r"must be an array of objects; for one object a line, name it .jsonl"):
        list(read_file(path))


def test_empty_files_have_no_rows(tmp_path: Path) -> None:
    for name, text in (("a.jsonl", ""), ("a.csv", ""), ("b.csv", "input_text,label\n"), ("a.json", " [ ]\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert list(read_file(tmp_path / name)) == []


def test_ragged_and_badly_encoded_rows_of_csv_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'text,label\none,a\n"two\nlines",b\nthree, four,c\nfive\nsi\xe9x,d\nseven,e\n')
    assert [row["label"] for row in columns(path)] == ["a", "b", "e"]
    assert problems(path) == {
        f"{path}:5": "3 fields where the header has 2; put quotes around text with commas",
        f"{path}:6": "1 fields where the header has 2; put quotes around text with commas",
        f"{path}:7": "not valid UTF-8; save the file as UTF-8",
    }


def test_a_quote_that_never_closes_is_named_where_its_row_begins(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('text,label\none,a\n"two,b\nthree,c\nfour,d\n', encoding="utf-8")
    assert [row["text"] for row in columns(path)] == ["one"]
    ((where, problem),) = problems(path).items()
    assert where == f"{path}:3"
    assert "not valid CSV: unexpected end of data; close the quotes" in problem


@pytest.mark.parametrize(
    ("text", "where", "problem"),
    [
        (b'"one" two,a\n', 1, "not valid CSV: ',' expected after '\"'"),
        (b'text,label\n"one" two,a\n', 2, "not valid CSV: ',' expected after '\"'"),
    ],
)
def test_text_after_a_closing_quote(tmp_path: Path, text: bytes, where: int, problem: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(text)
    ((place, found),) = problems(path).items()
    assert place == f"{path}:{where}"
    assert problem in found


@pytest.mark.parametrize(
    ("header", "message"),
    [(b"text,label,text", ":1: two columns have the same name: text, label, text"), (b"t\xe9xt,label", "UTF-8")],
)
def test_a_header_that_cannot_be_used_is_an_error(tmp_path: Path, header: bytes, message: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(header + b"\n1,2,3\n")
    with pytest.raises(DataError) as caught:
        list(read_file(path))
    assert str(caught.value).startswith(f"{path}:1: ")
    assert message in str(caught.value)


def test_a_long_field_of_csv_is_read(tmp_path: Path) -> None:
    text = "word " * 100_000
    assert columns(write_delimited(tmp_path / "rows.csv", [{"text": text}])) == [{"text": text}]


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
    with pytest.raises(DataError, match=r"rows.xlsx: unknown kind of file; use one of .csv, .json, .jsonl, .parquet"):
        list(read_file(tmp_path / "rows.xlsx"))
    for name in ("rows.jsonl", "rows.parquet"):
        with pytest.raises(DataError, match=f"{name}: no such file"):
            list(read_file(tmp_path / name))
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match="a directory that holds no file of rows"):
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
