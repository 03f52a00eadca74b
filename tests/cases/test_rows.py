"""Rows from files and from Python: what is read, what is refused and what is said. The letters name reported cases."""

from __future__ import annotations

import gzip
import io
import json
import logging
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import torch

import dhrd
from dhrd import Classifier, DataError, Example
from dhrd.config import DataSettings, load_config
from dhrd.data.objects import as_rows
from dhrd.data.readers import BadRow, Row, read_file
from dhrd.data.rows import load_rows
from dhrd.data.sources import open_source
from dhrd.errors import ConfigError
from helpers.rows import write_jsonl
from helpers.runs import make_config, read_jsonl, run_here

PLAIN = DataSettings()
TEXTS = ["the bed is hard", "keep it", "a broken lamp"]


def load(spec: Any, settings: DataSettings = PLAIN, **options: Any) -> list[Example]:
    return open_source(spec, settings).load(**options)


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def warnings_of(caplog: pytest.LogCaptureFixture, read: Callable[[], Any]) -> list[str]:
    """What is said at level warning while something is read."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="dhrd"):
        read()
    return [record.getMessage() for record in caplog.records]


def error_of(spec: Any, settings: DataSettings = PLAIN, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(spec, settings, **options)
    return str(caught.value)


# Files


def test_l6_a_tsv_has_no_quotes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'input_text\tlabel\n"Great stay\tpos\nthe tub is 5"\tneg\nok\tpos\n')
    found = [(row.input_text, row.label) for row in load(path)]
    assert found == [('"Great stay', "pos"), ('the tub is 5"', "neg"), ("ok", "pos")]


def test_l6_quotes_around_fields_of_a_tsv_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.tsv", 'input_text\tlabel\n"Great"\tpos\nplain\tneg\n')
    (said,) = warnings_of(caplog, lambda: load(path))
    assert said.startswith(f'{path}: in 1 rows a field begins and ends with a quote (")')
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
    assert f"in 1 rows a quoted text holds lines that would each be a row of their own (first: {path}:2)" in said


def test_l6_texts_of_several_lines_are_read_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.csv", 'input_text,label\n"Dear all\nI write, as I said, again\nYours",pos\nok,neg\n')
    assert warnings_of(caplog, lambda: load(path)) == []
    assert load(path)[0].input_text == "Dear all\nI write, as I said, again\nYours"


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


def test_l12_two_columns_of_one_name_are_refused_in_every_reader(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 3, names=["input_text", "label", "label"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    write(tmp_path / "a.csv", "input_text,label,label\na,x,y\n")
    write(tmp_path / "a.tsv", "input_text\tlabel\tlabel\na\tx\ty\n")
    frame = pd.DataFrame([["a", "x", "y"]], columns=["input_text", "label", "label"])
    for spec in (*(tmp_path / f"a.{kind}" for kind in ("parquet", "csv", "tsv")), table, frame):
        assert "two columns have the same name: input_text, label, label" in error_of(spec)


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
        ([], "a directory that holds no file of rows"),
        (["a.jsonl", "b.csv"], r"a directory of several kinds of file \(.csv, .jsonl\); name the file"),
        (["train.jsonl", "test.jsonl"], r"a directory of several splits \(test, train\); name the file"),
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


@pytest.mark.parametrize(
    "text",
    ["\n\ninput_text,label\na,x\n", "sep=,\ninput_text,label\na,x\n", "sep=;\r\ninput_text;label\r\na;x\r\n"]
    + ["\ufeffsep=;\ninput_text;label\na;x\n", "sep=\t\n\ninput_text\tlabel\na\tx\n"],
)
def test_l21_blank_lines_and_a_declared_delimiter_before_the_header(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.csv", text)
    (row,) = load(path)
    assert (row.input_text, row.label, row.where) == ("a", "x", f"{path}:{text.rstrip().count(chr(10)) + 1}")


def test_l21_another_delimiter_is_named_with_its_setting(tmp_path: Path, capsys: Any) -> None:
    path = write(tmp_path / "a.csv", "input_text;label\na, b;x\nc;y\n")
    assert error_of(path) == (
        f"{path}:1: the header is one column, 'input_text;label'; if ';' stands between the columns, set "
        "data.csv_delimiter=';'"
    )
    settings = load_config(overrides=["data.csv_delimiter=;"]).data
    assert [row.input_text for row in load(path, settings)] == ["a, b", "c"]
    with pytest.raises(ConfigError, match="csv_delimiter"):
        load_config(overrides=["data.csv_delimiter=,,"])


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_l21_utf_16_and_utf_32_are_one_complaint(tmp_path: Path, name: str, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("be") else ""
    path = write(tmp_path / name, (mark + '{"input_text": "a", "label": "x"}\n' * 5).encode(encoding))
    assert error_of(path) == f"{path}: the file is {encoding[:6].upper()}, not UTF-8; save it as UTF-8"


@pytest.mark.parametrize("name", ["weight", "sample_weight"])
def test_l21_a_weight_column_is_said_not_to_be_read(caplog: pytest.LogCaptureFixture, name: str) -> None:
    rows = [{"input_text": "a", "label": "x", name: 2.0}, {"input_text": "b", "label": "y", name: 1.0}]
    (said,) = warnings_of(caplog, lambda: load(rows))
    assert f"the column '{name}' is not read, as all rows count alike" in said
    read = DataSettings(input_template="{{ input_text }}, " + f"{{{{ {name} }}}}")
    assert warnings_of(caplog, lambda: load(rows, read)) == []


def test_l21_one_text_twice_is_told_with_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train = [{"input_text": t, "label": n} for t, n in (("a", "x"), ("b", "y"), ("a", "y"), ("c", "x"), ("c", "x"))]
    held = [{"input_text": t, "label": "x"} for t in ("a", "new", "b")]
    config = load_config(loss__reasoning_weight=0)
    said = warnings_of(caplog, lambda: load_rows(config, train, held))
    assert any(
        line.startswith("data.train: 1 texts stand there with more than one label (first: row 0)") for line in said
    )
    assert any(line.startswith("data.validation: 2 of 3 rows have the text of a training row") for line in said)
    assert warnings_of(caplog, lambda: load_rows(config, train[:2], held[1:2])) == []
    cut = load_config(loss__reasoning_weight=0, data__dev_share=0.5)
    said = warnings_of(caplog, lambda: load_rows(cut, [{"input_text": "a", "label": n} for n in "xxxxyyyy"]))
    assert any(line.startswith("data.dev_share: 4 of 4 rows have the text of a training row") for line in said)


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


def test_a14_values_are_clipped_in_messages() -> None:
    for value in (list(range(500_000)), {"a": ["b" * 1000] * 1000}, "x" * 10**7 + "\ud83d"):
        found = error_of([{"input_text": value, "label": "x"}])
        assert len(found) < 301
    for field in ("rationale", "id", "group"):
        found = error_of([{"input_text": "a", "label": "x", field: list(range(500_000))}])
        assert len(found) < 301
        assert found.startswith(f"row 0: {field}: [0, 1, 2")


@pytest.mark.parametrize("depth", [900, 100_000])
def test_values_that_are_nested_without_end_are_refused_by_line(tmp_path: Path, depth: int) -> None:
    path = write(tmp_path / "a.jsonl", '{"input_text": "a", "label": "x", "n": ' + "[" * depth + "]" * depth + "}\n")
    for labels_required in (True, False):
        assert error_of(path, labels_required=labels_required).startswith(f"{path}:1: ")


# Rows in Python


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on a column called `text`."""
    folder = tmp_path_factory.mktemp("artifact")
    config = make_config(tiny_backbone, folder, "training.num_epochs=1", "data.columns.input_text=text")
    for name in ("train", "validation"):
        path = folder / f"{name}.jsonl"
        write_jsonl(path, [{**row, "text": row.pop("input_text")} for row in read_jsonl(path)])
    return dhrd.train(config).output_dir


@pytest.fixture(scope="module")
def classifier(artifact: Path) -> Classifier:
    return Classifier.from_pretrained(artifact, device="cpu", dtype=None)


def as_dataset(kind: str | None = None) -> Any:
    data = datasets.Dataset.from_dict({"input_text": TEXTS, "n": [1, 2, 3]})
    return data.with_format(kind) if kind else data


FORMATS = (None, "arrow", "numpy", "pandas", "torch")
TABLES: dict[str, Callable[[], Any]] = {
    "DataFrame": lambda: pd.DataFrame({"input_text": TEXTS, "n": [1, 2, 3]}, index=[7, 7, 9]),
    "one column": lambda: pd.DataFrame({"input_text": TEXTS}),
    "Series": lambda: pd.Series(TEXTS),
    "dict of lists": lambda: {"input_text": TEXTS, "n": [1, 2, 3]},
    "dict of tuples": lambda: {"input_text": tuple(TEXTS)},
    "dict of arrays": lambda: {"input_text": np.array(TEXTS), "n": np.arange(3)},
    "dict of Series": lambda: {"input_text": pd.Series(TEXTS)},
    "pyarrow Table": lambda: pyarrow.table({"input_text": TEXTS, "n": [1, 2, 3]}),
    "RecordBatch": lambda: pyarrow.RecordBatch.from_pylist([{"input_text": text} for text in TEXTS]),
    "pyarrow array": lambda: pyarrow.array(TEXTS),
    "array": lambda: np.array(TEXTS),
    "array of objects": lambda: np.array(TEXTS, dtype=object),
    "a slice of a Dataset": lambda: as_dataset()[:3],
    "a column of a Dataset": lambda: as_dataset()["input_text"],
    "IterableDataset": lambda: as_dataset().to_iterable_dataset(),
    **{
        f"Dataset, {kind}": (lambda kind=kind: as_dataset(kind)) for kind in (None, "arrow", "numpy", "pandas", "torch")
    },
    "tuple": lambda: tuple(TEXTS),
    "generator": lambda: (text for text in TEXTS),
    "dicts": lambda: [{"input_text": text} for text in TEXTS],
    "Examples": lambda: [Example(input_text=text) for text in TEXTS],
}


@pytest.mark.parametrize("kind", TABLES)
def test_s3_s4_l15_a_table_is_taken_row_by_row(kind: str) -> None:
    assert [row.input_text for row in load(TABLES[kind](), labels_required=False)] == TEXTS


@pytest.mark.parametrize(
    "kind", ["DataFrame", "dict of lists", "pyarrow Table", "Dataset, arrow", "a slice of a Dataset"]
)
def test_s3_s4_every_entry_takes_tables(artifact: Path, classifier: Classifier, kind: str) -> None:
    expected = classifier.predict_proba(TEXTS)
    table = TABLES[kind]
    assert np.allclose(classifier.predict_proba(table()), expected)
    assert classifier.predict(table()) == classifier.predict(TEXTS)
    assert [one.text for one in classifier.stream(table())] == TEXTS
    assert [one.text for one in classifier.explain(table(), max_new_tokens=2)] == TEXTS
    found = [row["probabilities"] for row in dhrd.predict(artifact, table(), device="cpu", dtype=None)]
    assert np.allclose([list(row.values()) for row in found], expected)


def test_s3_training_and_evaluation_take_a_table(artifact: Path) -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": ["keep", "return", "repair"], "id": [1.0, 2.0, float("nan")]})
    config = load_config(data__columns={"input_text": "text"}, loss__reasoning_weight=0)
    rows = load_rows(config, frame, frame.to_dict("list")).train
    assert [(row.input_text, row.label) for row in rows] == list(zip(TEXTS, frame["label"], strict=True))
    assert [row.id for row in rows[:2]] == ["1", "2"]
    assert rows[2].id == rows[2].digest, "an id that is missing"
    assert dhrd.evaluate(artifact, frame, device="cpu").metrics["num_examples"] == 3


@pytest.mark.parametrize(
    "rows",
    [5, 2.5, None, True, b"bytes", bytearray(b"b"), Path("a.jsonl"), {"a", "b"}, object(), datetime(2026, 1, 1)]
    + [np.array("a text"), np.float32(1), io.StringIO("a")],
)
def test_decision_4_anything_else_is_named_by_its_type(classifier: Classifier, rows: Any) -> None:
    entries = (classifier.predict, classifier.predict_proba, classifier.explain, lambda r: list(classifier.stream(r)))
    for entry in entries:
        with pytest.raises(DataError, match=f"rows: got a {type(rows).__name__} .*; give texts, dicts or Examples"):
            entry(rows)
    if not isinstance(rows, Path):
        with pytest.raises(DataError, match=f"rows: got a {type(rows).__name__} "):
            open_source(rows, PLAIN)


@pytest.mark.parametrize(
    "row", [5, None, b"bytes", ["a"], ("a", "b"), object(), 2.5, np.int64(3), True, pd.Series(["a"])]
)
def test_decision_4_a_row_that_is_none_is_named_by_its_type(classifier: Classifier, row: Any) -> None:
    with pytest.raises(DataError, match=f"row 1: a row must be .* or an Example, got a {type(row).__name__}"):
        classifier.predict(["a", row])
    assert "row 1: a row must be a text, a dict or an Example" in error_of(["a", row], labels_required=False)


def test_s4_columns_of_different_lengths_and_splits_are_refused() -> None:
    with pytest.raises(DataError, match=r"a dict of lists of different lengths \(1, 2\)"):
        as_rows({"input_text": ["a"], "n": [1, 2]})
    splits = datasets.DatasetDict({"train": as_dataset()})
    for given in (splits, dict(splits), {"train": [{"input_text": "a"}]}, {"train": pd.DataFrame({"a": [1]})}):
        with pytest.raises(DataError, match="the data set is a mapping of train; give one split of it"):
            as_rows(given)
    assert list(as_rows({"input_text": "a", "turns": ["b"]})) == [{"input_text": "a", "turns": ["b"]}], "one row"


NO_TEXT: dict[str, Any] = {
    "NaN": float("nan"),
    "number": 5,
    "list": ["a", "b"],
    "bytes": b"x",
    "boolean": True,
    "NumPy number": np.float32(1),
    "NumPy boolean": np.bool_(True),
    "dict": {"a": 1},
    "NA": pd.NA,
    "NaT": pd.NaT,
    "None": None,
    "Decimal": Decimal(3),
    "date": datetime(2026, 1, 1),
    "tensor": torch.tensor([1]),
}


@pytest.mark.parametrize("kind", NO_TEXT)
def test_s5_what_is_no_text_is_refused_everywhere(classifier: Classifier, kind: str) -> None:
    row = {"input_text": NO_TEXT[kind]}
    expected = r"row 1: input_text: (missing|there is no|.* is not text)"
    for entry in (
        classifier.predict,
        classifier.predict_proba,
        classifier.explain,
        lambda r: list(classifier.stream(r)),
    ):
        with pytest.raises(DataError, match=expected):
            entry([{"input_text": "a"}, row])
    with pytest.raises(DataError, match=expected):
        load([{"input_text": "a", "label": "x"}, {**row, "label": "x"}])


MISSING = [float("nan"), None, pd.NA, pd.NaT, np.float64("nan"), np.datetime64("NaT"), Decimal("NaN"), np.ma.masked]


@pytest.mark.parametrize("value", MISSING, ids=lambda value: type(value).__name__)
def test_s6_the_missing_values_of_every_library_are_null(value: Any) -> None:
    template = DataSettings(input_template="{{ amount }} EUR")
    assert "a column that it writes is null" in error_of([{"amount": value}], template, labels_required=False)
    nested = DataSettings(input_template="{{ amounts[0] }} EUR")
    assert "is null" in error_of([{"amounts": [value]}], nested, labels_required=False)
    optional = DataSettings(input_template='{{ input_text }}{{ amount or "" }}')
    (row,) = load([{"input_text": "a", "amount": value, "id": value, "rationale": value, "label": "x"}], optional)
    assert (row.rationale, row.id) == (None, row.digest)


@pytest.mark.parametrize("where", ["text", "Example", "dict", "DataFrame", "another column", "nested"])
def test_s7_half_an_emoji_is_refused_from_every_entry(classifier: Classifier, where: str) -> None:
    half = "a\ud83d"
    rows: dict[str, Any] = {
        "text": [half],
        "Example": [Example(input_text=half, label="keep")],
        "dict": [{"input_text": half, "label": "keep"}],
        "DataFrame": pd.DataFrame({"input_text": pd.Series([half], dtype=object), "label": ["keep"]}),
    }
    template = {"another column": "{{ title }}", "nested": "{{ meta.title }}"}.get(where, "{{ input_text }}")
    given = rows.get(where, [{"title": half, "meta": {"title": half}, "label": "keep"}])
    for required in (True, False):
        found = error_of(given, DataSettings(input_template=template), labels_required=required)
        assert "is half of a surrogate pair, not text" in found
    if where in rows:
        for entry in (classifier.predict, classifier.predict_proba, classifier.explain):
            with pytest.raises(DataError, match="half of a surrogate pair"):
                entry(given)


def test_l15_values_of_other_libraries_are_taken(tmp_path: Path) -> None:
    rows = [
        {"input_text": np.str_("a"), "label": np.array(["x", "y"]), "id": np.int64(3)},
        {"input_text": "b", "label": ("x",), "id": torch.tensor(4)},
        {"input_text": "c", "label": {"y", "x"}, "id": pyarrow.scalar(5)},
        {"input_text": "d", "label": pd.Series(["y"]), "id": 6.0},
    ]
    found = load(rows)
    assert [row.label for row in found] == [("x", "y"), ("x",), ("x", "y"), ("y",)]
    assert [row.id for row in found] == ["3", "4", "5", "6"]
    assert type(found[0].input_text) is str
    assert load([{"input_text": "a", "label": np.int64(0)}])[0].label in (0, "0")
    assert load([Example(input_text="a", label=("x", "y"))])[0].label == ("x", "y")


def test_l14_predict_looks_at_the_id_and_the_template_alone(artifact: Path, tmp_path: Path, capsys: Any) -> None:
    odd = [1.0, float("nan"), {"a": 1}, [[1]], 2.5, "", True]
    rows = [{"text": "a", "id": 7.0, "label": label, "rationale": 3, "group": [], "x": "\ud83d"} for label in odd]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(list(dhrd.predict(artifact, rows, device="cpu"))) == len(odd)
    ended = run_here(capsys, "predict", "--model", artifact, "--input", path, "--output", tmp_path / "o.jsonl")
    assert ended.code == 0, ended.err
    assert [row["id"] for row in read_jsonl(tmp_path / "o.jsonl")] == ["7"] * len(odd)


def test_l19_the_mapping_of_columns_travels_with_the_artifact(artifact: Path, classifier: Classifier) -> None:
    expected = classifier.predict_proba(TEXTS)
    forms: list[Any] = [
        TEXTS,
        [{"text": text} for text in TEXTS],
        [{"input_text": text} for text in TEXTS],
        [Example(input_text=text) for text in TEXTS],
        [Example(fields={"text": text}) for text in TEXTS],
        {"text": TEXTS},
    ]
    for rows in forms:
        assert np.allclose(classifier.predict_proba(rows), expected)
        found = [list(row["probabilities"].values()) for row in dhrd.predict(artifact, rows, device="cpu", dtype=None)]
        assert np.allclose(found, expected)
    assert json.loads((artifact / "dhrd.json").read_text())["columns"] == {"input_text": "text"}
    with pytest.raises(DataError, match=r"row 0: input_text: missing; the row has body"):
        classifier.predict([{"body": "a"}])


def test_l19_a_mapping_that_is_given_wins_over_the_artifacts(artifact: Path, classifier: Classifier) -> None:
    rows = [{"text": "not this", "body": text} for text in TEXTS]
    config = load_config(data__columns={"input_text": "body"})
    found = dhrd.predict(artifact, rows, config=config, device="cpu", dtype=None)
    expected = classifier.predict_proba(TEXTS)
    assert np.allclose([list(row["probabilities"].values()) for row in found], expected)


# Standard input and pipes


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def give(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return give


def test_f19_a_dash_is_standard_input(
    artifact: Path, tmp_path: Path, capsys: Any, stdin: Callable[[str], None]
) -> None:
    lines = "".join(json.dumps({"id": f"i{n}", "text": text, "label": "keep"}) + "\n" for n, text in enumerate(TEXTS))
    stdin(lines)
    ended = run_here(capsys, "predict", "--model", artifact, "--input", "-", "--output", tmp_path / "o.jsonl")
    assert ended.code == 0, ended.err
    assert [row["id"] for row in read_jsonl(tmp_path / "o.jsonl")] == ["i0", "i1", "i2"]
    stdin(lines)
    ended = run_here(capsys, "evaluate", "--model", artifact, "--data", "-", "--json", tmp_path / "m.json")
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "m.json").read_text())["num_examples"] == 3
    stdin("not json\n")
    ended = run_here(capsys, "predict", "--model", artifact, "--input", "-", "--output", tmp_path / "p.jsonl")
    assert ended.code == 2
    assert ended.error_lines[0].startswith("dhrd: error: -:1: not valid JSON")


def test_f19_a_pipe_is_read_as_json_lines_and_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text('{"input_text": "a", "label": "x"}\n'))
    writer.start()
    source = open_source(pipe, PLAIN)
    assert [row.input_text for row in source.load()] == ["a"]
    writer.join()
    with pytest.raises(DataError, match="a stream is read once, and this reads its rows again"):
        source.load()


def test_f19_dev_stdin_needs_no_suffix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"input_text": "a", "label": "x"}])
    with path.open("rb") as file:
        assert [row.input_text for row in load(f"/dev/fd/{file.fileno()}")] == ["a"]


# What holds, and stays


def test_rows_are_read_or_refused_by_line_as_before(tmp_path: Path) -> None:
    for text in ("input_text,label\r\na,x\r\n", "input_text,label\ra,x\r", '\ufeffinput_text,label\n"a",x\n'):
        assert [row.input_text for row in load(write(tmp_path / "a.csv", text))] == ["a"]
    assert load(write(tmp_path / "a.csv", 'input_text,label\n"a\nb",x\n'))[0].input_text == "a\nb"
    assert [row.label for row in load([{"input_text": "a", "label": "NA"}, {"input_text": "b", "label": "null"}])] == [
        "NA",
        "null",
    ]
    assert math.isinf(load([{"input_text": "a", "label": "x", "n": math.inf}])[0].fields["n"])


def test_iterators_of_python_are_read_lazily() -> None:
    def endless() -> Iterator[dict[str, str]]:
        number = 0
        while True:
            yield {"input_text": f"text {number}", "label": "x"}
            number += 1

    assert len(load(endless(), limit=5)) == 5
