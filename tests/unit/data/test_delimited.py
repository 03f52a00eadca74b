"""CSV and TSV: quotes, headers, delimiters. The letters name reported cases."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dhrd.config import DataSettings, load_config
from dhrd.data.readers import read_file
from dhrd.data.row import BadRow
from dhrd.errors import ConfigError, DataError
from helpers.reading import columns, error_of, load, problems, read, warnings_of, write, write_delimited


def test_l6_a_tsv_has_no_quotes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'input_text\tlabel\n"Great stay\tpos\nthe tub is 5"\tneg\nok\tpos\n')
    found = [(row.input_text, row.label) for row in load(path)]
    assert found == [('"Great stay', "pos"), ('the tub is 5"', "neg"), ("ok", "pos")]


def test_l6_quotes_around_fields_of_a_tsv_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.tsv", 'input_text\tlabel\n"Great"\tpos\nplain\tneg\n')
    (said,) = warnings_of(caplog, lambda: load(path))
    assert said.startswith(f'{path}: in 1 rows a field starts and ends with a quote (")')
    os.rename(path, path.with_suffix(".csv"))
    tabs = DataSettings(csv_delimiter="tab")
    assert [row.input_text for row in load(path.with_suffix(".csv"), tabs)] == ["Great", "plain"]


SWALLOWED = {
    "one line more": 'input_text,label\n"Great stay,pos\nthe tub is 5",neg\nok,pos\n',
    "three lines more": 'input_text,label\n"Great stay,pos\nfine,pos\nnot so,neg\nthe tub is 5",neg\nok,pos\n',
    "the last column": 'label,input_text\npos,"Great stay\nneg,the tub is 5"\npos,ok\n',
}


@pytest.mark.parametrize("kind", SWALLOWED)
def test_l6_a_quote_that_swallows_rows_of_a_csv_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = write(tmp_path / "a.csv", SWALLOWED[kind])
    (said,) = warnings_of(caplog, lambda: load(path))
    assert f"in 1 rows a quoted text contains lines that look like rows (first: {path}:2)" in said


def test_l6_texts_of_several_lines_are_read_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    several = '"Dear all\nI write, as I said, again\nYours",pos\n'
    as_many = '"Hello,\nthe lamp is broken",pos\n"Dear team, hello\nthe lamp is broken",neg\n'
    path = write(tmp_path / "a.csv", f"input_text,label\n{several}{as_many}ok,neg\n")
    assert warnings_of(caplog, lambda: load(path)) == []
    assert load(path)[0].input_text == "Dear all\nI write, as I said, again\nYours"


@pytest.mark.parametrize(
    "text",
    ["\n\ninput_text,label\na,x\n", "sep=,\ninput_text,label\na,x\n", "sep=;\r\ninput_text;label\r\na;x\r\n"]
    + ["\ufeffsep=;\ninput_text;label\na;x\n", "sep=\t\n\ninput_text\tlabel\na\tx\n"],
)
def test_l21_blank_lines_and_a_declared_delimiter_before_the_header(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.csv", text)
    (row,) = load(path)
    assert (row.input_text, row.label, row.where) == ("a", "x", f"{path}:{text.rstrip().count(chr(10)) + 1}")


@pytest.mark.parametrize("given", [",", ";", "\t"], ids=repr)
@pytest.mark.parametrize("own", [",", ";", "\t"], ids=repr)
def test_l21_a_header_that_only_another_delimiter_divides_is_read_by_that(tmp_path: Path, given: str, own: str) -> None:
    path = write(tmp_path / "a.csv", f'input_text{own}"label"\n"a, b; c"{own}x\nc{own}y\n')
    assert [row.input_text for row in load(path, DataSettings(csv_delimiter=given))] == ["a, b; c", "c"]


@pytest.mark.parametrize("header", ['"input_text;more"', "input_text"])
def test_l21_a_header_of_one_column_stays_one(tmp_path: Path, header: str) -> None:
    path = write(tmp_path / "a.csv", f"{header}\nx\n")
    assert columns(path) == [{header.strip('"'): "x"}]


def test_l21_a_delimiter_that_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "input_text|short;label\na|b;x\n")
    assert error_of(path) == (
        f"{path}:1: the header is one column, 'input_text|short;label'; say what divides it: "
        "`data.csv_delimiter=';'` or `data.csv_delimiter='|'`"
    )
    settings = load_config(overrides=["data.csv_delimiter=;", "data.columns.input_text=input_text|short"]).data
    assert [row.input_text for row in load(path, settings)] == ["a|b"]
    with pytest.raises(ConfigError, match="csv_delimiter"):
        load_config(overrides=["data.csv_delimiter=,,"])


@pytest.mark.parametrize(
    ("given", "own", "quotes", "mend"), [(",", ";", "commas", "';'"), (";", ",", "semicolons", "','")]
)
def test_l21_fields_of_another_delimiter_name_it(tmp_path: Path, given: str, own: str, quotes: str, mend: str) -> None:
    path = write(tmp_path / "a.csv", f"id{own}text{given} short{own}label\n1{own}a{own}x\n")
    problem = {
        f"{path}:2": f"1 fields where the header has 2; put quotes around text with {quotes}, or give "
        f"`data.csv_delimiter={mend}` if that divides the columns"
    }
    assert {row.where: row.problem for row in read_file(path, delimiter=given) if isinstance(row, BadRow)} == problem


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_rows_without_anything_at_the_end_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """As spreadsheets write them, with as many delimiters as there once were columns; between others they are named."""
    lines = ["input_text,label,note", "a,x,", ",,", "b,y,", ",,", ",", ""]
    path = write(tmp_path / name, "\n".join(lines).replace(",", "\t" if name.endswith("tsv") else ","))
    assert [row["label"] for row in columns(path)] == ["x", "", "y"]
    assert f"{path}: 2 rows at the end have nothing in any column and are left out" in caplog.text
    assert error_of(path).startswith(f"{path}:3: input_text: empty")


def test_an_empty_text_of_its_own_at_the_end_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'input_text\na\n""\n\n')
    assert columns(path) == [{"input_text": "a"}, {"input_text": ""}]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_l6_swallowed_rows_are_told_whatever_ends_a_line(
    end: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = ["input_text,label", '"Great stay,pos', 'the tub is 5",neg', "ok,pos", ""]
    (tmp_path / "rows.csv").write_text(end.join(lines), newline="")
    read(tmp_path / "rows.csv")
    assert "in 1 rows a quoted text contains lines that look like rows" in caplog.text


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_delimited_values_stay_text(tmp_path: Path, name: str) -> None:
    rows = [{"id": "001", "input_text": "1e5", "label": "NA"}, {"id": "1", "input_text": "true", "label": ""}]
    assert columns(write_delimited(tmp_path / name, rows)) == rows


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
    [
        (b"text,label,text", ":1: two columns have the same name: text, label, text"),
        (b"text,label,, ,", ":1: 3 columns have no name (3, 4, 5); name them, or take them out"),
        (b"t\xe9xt,label", "UTF-8"),
    ],
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
