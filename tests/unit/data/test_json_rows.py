"""Objects a line and lists of objects: what the parser is too lenient for. The letters name reported cases."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from dhrd.data.readers import read_file
from dhrd.data.row import BadRow
from dhrd.errors import DataError
from helpers.reading import columns, error_of, problems, write
from helpers.rows import write_jsonl


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz"])
@pytest.mark.parametrize("row", ['{"label": "x", "label": "y"}', '{"input_text": "a", "meta": {"k": 1, "k": 1}}'])
def test_l12_a_key_that_occurs_twice_is_refused_with_its_line(tmp_path: Path, name: str, row: str) -> None:
    text = f'{{"input_text": "a", "label": "x"}}\n{row}\n' if "jsonl" in name else f'[{{"a": 1}},\n{row}]'
    path = write(tmp_path / name, gzip.compress(text.encode()) if name.endswith("gz") else text)
    bad = [item for item in read_file(path) if isinstance(item, BadRow)]
    assert [item.where for item in bad] == [f"{path}:2"]
    assert "occurs twice in one object; keep one of the two" in bad[0].problem


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[{"a": 1},\n{"a": 2},\n]', 3),
        ('[{"a": 1}\n{"a": 2}]', 2),
        ('[,\n{"a": 1}]', 1),
        ('[{"a": 1},,\n{"a": 2}]', 1),
        ('[{"a": 1},\n,{"a": 2}]', 2),
        ("[,]", 1),
        ('[{"a": 1},', 1),
    ],
)
def test_l12_commas_too_many_or_too_few_in_a_list_are_refused(tmp_path: Path, text: str, line: int) -> None:
    path = write(tmp_path / "a.json", text)
    bad = [item for item in read_file(path) if isinstance(item, BadRow)]
    assert [item.where for item in bad] == [f"{path}:{line}"]
    assert bad[0].problem.startswith("not valid JSON: ")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_l21_utf_16_and_utf_32_are_one_complaint(tmp_path: Path, name: str, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("be") else ""
    path = write(tmp_path / name, (mark + '{"input_text": "a", "label": "x"}\n' * 5).encode(encoding))
    assert error_of(path) == f"{path}: the file is {encoding[:6].upper()}, not UTF-8; save it as UTF-8"


@pytest.mark.parametrize("depth", [900, 100_000])
def test_values_that_are_nested_without_end_are_refused_by_line(tmp_path: Path, depth: int) -> None:
    path = write(tmp_path / "a.jsonl", '{"input_text": "a", "label": "x", "n": ' + "[" * depth + "]" * depth + "}\n")
    for labels_required in (True, False):
        assert error_of(path, labels_required=labels_required).startswith(f"{path}:1: ")


ROWS = [
    {"input_text": "A plain row", "label": "yes"},
    {"input_text": 'Quotes ", commas, and\nnew lines', "label": "no"},
    {"input_text": "Ünïcödé 🙂 \u2028 and separators", "label": "001"},
]


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
    with pytest.raises(DataError, match=r"must be an array of objects; for one object per line, name it .jsonl"):
        list(read_file(path))
