"""From a row to a checked example, and what is noticed on the way. The letters name reported cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from dhrd.config import DataSettings, load_config
from dhrd.data.rows import load_rows
from dhrd.data.sources import open_source
from dhrd.errors import ColumnError, DataError
from helpers.reading import PLAIN, error_of, load, read, refused, warnings_of, write
from helpers.rows import write_jsonl

HEADERS = {
    "a.csv": "input_text,label\na,x\ninput_text,label\nb,y\n",
    "b.csv": "input_text,label\na,x\nlabel,input_text\ny,b\n",
    "c.csv": "\ufeffinput_text,label\na,x\n\ufeffinput_text,label\nb,y\n",
    "a.tsv": "input_text\tlabel\na\tx\ninput_text\tlabel\n",
    "a.jsonl": '{"input_text": "a", "label": "x"}\n{"input_text": "input_text", "label": "label"}\n',
    "one.csv": "input_text\na\ninput_text\n",
}


@pytest.mark.parametrize("name", HEADERS)
def test_l12_the_header_again_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, HEADERS[name])
    line = 2 if name.endswith("jsonl") else 3
    expected = f"{path}:{line}: the names of the columns again; remove the line"
    assert error_of(path, labels_required=name != "one.csv").startswith(expected)


def test_l12_the_header_again_is_refused_from_parquet_and_python(tmp_path: Path) -> None:
    rows = [{"input_text": "a", "label": "x"}, {"input_text": "input_text", "label": "label"}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    for spec in (tmp_path / "a.parquet", rows, pd.DataFrame(rows)):
        assert "the names of the columns again" in error_of(spec)


def test_l11_words_of_missing_data_are_kept_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "input_text,label,rationale\na,x,nan\nb,None,nan\nN/A,y,because\n"
    path = write(tmp_path / "a.csv", text)
    source = open_source(path, PLAIN)
    (said,) = warnings_of(caplog, lambda: (source.load(), source.load()))
    assert "words of missing data are kept as they are" in said
    for count in ("rationale 'nan' in 2 rows", "label 'None' in 1 rows", "text 'N/A' in 1 rows"):
        assert count in said
    assert [row.rationale for row in source.load()] == ["nan", "nan", "because"]
    assert warnings_of(caplog, lambda: load([{"input_text": "the nan bread", "label": "x"}])) == []


@pytest.mark.parametrize("name", ["weights", "sample_weight"])
def test_l21_a_column_that_may_be_a_weight_is_said_not_to_be_read(caplog: pytest.LogCaptureFixture, name: str) -> None:
    rows = [{"input_text": "a", "label": "x", name: 2.0}, {"input_text": "b", "label": "y", name: 1.0}]
    (said,) = warnings_of(caplog, lambda: load(rows))
    assert f"the column '{name}' is not read; rows are weighed by it with data.columns.weight={name}" in said
    assert [row.weight for row in load(rows, DataSettings(columns={"weight": name}))] == [2, 1]
    read = DataSettings(input_template="{{ input_text }}, " + f"{{{{ {name} }}}}")
    assert warnings_of(caplog, lambda: load(rows, read)) == []


def test_s7_an_id_is_checked_where_rows_are_predicted(tmp_path: Path) -> None:
    path = tmp_path / "half.jsonl"
    path.write_text('{"input_text": "a", "id": "x\\ud83d", "other": "\\ud83d"}\n')
    assert "id: '\\ud83d' at character 1 is half" in refused(path, labels_required=False)
    path.write_text('{"input_text": "a", "y": "\\ud83d"}\n')
    assert read(path, labels_required=False, data__columns={"label": "y"})[0].input_text == "a"


def test_l12_the_header_of_one_mapped_column_again(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text\nok\ntext\n")
    message = refused(tmp_path / "rows.csv", labels_required=False, data__columns={"input_text": "text"})
    assert "rows.csv:3: the names of the columns again" in message


def test_l11_words_of_missing_data_in_ids_groups_and_files_of_rationales(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"input_text": f"t {n}", "label": "ab"[n % 2], "id": str(n), "group": "nan"} for n in range(4)]
    words = [{"id": str(n), "rationale": "None" if n else "because"} for n in range(4)]
    path = write_jsonl(tmp_path / "why.jsonl", words)
    load_rows(load_config(data__rationales=str(path)), rows)
    assert "group 'nan' in 4 rows" in caplog.text
    assert "words of missing data are kept as rationales ('None' in 3 rows)" in caplog.text


@pytest.mark.parametrize(
    ("columns", "row", "told"),
    [
        ({}, {"body": "x"}, "input_text, label: there is no column 'input_text' and no column 'label'; known are body"),
        ({"input_text": "text", "label": "gold"}, {"body": "x"}, "no column 'text' and no column 'gold', which data"),
        ({"label": "gold"}, {"body": "x"}, "input_text, label: there is no column 'input_text' and no column 'gold'"),
        (
            {"label": "gold", "id": "key"},
            {"input_text": "x"},
            "label, id: there is no column 'gold' and no column 'key'",
        ),
        ({}, {"input_text": "x"}, "label: missing; the row has input_text"),
        ({}, {"label": "x"}, "input_text: missing; the row has label"),
    ],
)
def test_all_missing_columns_are_told_at_once(columns: dict[str, str], row: dict[str, str], told: str) -> None:
    error = error_of([row], DataSettings(columns=columns))
    assert told in error and "\n" not in error
    assert all(f"`data.columns.{field}=COLUMN`" in error for field in error.split(": ")[1].split(", "))


@pytest.mark.parametrize(
    ("row", "settings", "kind"),
    [
        ({"body": "a", "label": "x"}, {}, ColumnError),
        ({"input_text": "a"}, {}, ColumnError),
        ({"input_text": "a", "label": "x"}, {"columns": {"label": "kind"}}, ColumnError),
        ({"input_text": "a", "label": "x"}, {"input_template": "{{ title }}"}, ColumnError),
        ({"input_text": None, "label": "x"}, {}, DataError),
        ({"input_text": "a", "label": ["x", "x"]}, {}, DataError),
    ],
)
def test_a_row_that_lacks_a_column_is_an_error_of_its_kind(
    row: dict[str, object], settings: dict[str, Any], kind: type[DataError]
) -> None:
    with pytest.raises(DataError) as told:
        load([row, row], DataSettings(**settings))
    assert type(told.value) is kind
