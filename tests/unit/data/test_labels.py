"""What a label is: the same from every format, an index only where the source says so, nothing of it made up."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from dhrd.data.records import Example, LabelSet
from dhrd.errors import DataError
from helpers.reading import labelled, labels_of, refused_by_run, run_rows
from helpers.rows import write_jsonl


def as_csv(directory: Path, found: list[dict[str, Any]], *, delimiter: str = ",", kind: str = "csv") -> Path:
    path = directory / f"rows.{kind}"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, found[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(found)
    return path


def as_json(directory: Path, found: list[dict[str, Any]]) -> Path:
    path = directory / "rows.json"
    path.write_text(json.dumps(found), encoding="utf-8")
    return path


def as_parquet(directory: Path, found: list[dict[str, Any]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(found), directory / "rows.parquet")
    return directory / "rows.parquet"


FORMATS: dict[str, Callable[[Path, list[dict[str, Any]]], Any]] = {
    "csv": as_csv,
    "tsv": lambda directory, found: as_csv(directory, found, delimiter="\t", kind="tsv"),
    "json": as_json,
    "jsonl": lambda directory, found: write_jsonl(directory / "rows.jsonl", found),
    "parquet": as_parquet,
    "python": lambda _, found: found,
    "dataset": lambda _, found: datasets.Dataset.from_list(found),
}
DIGITS = [0, 1, 10, 11, 2, 3, -4]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("spell", [int, float, str], ids=["integers", "decimals", "text"])
def test_l1_digits_are_the_same_names_in_every_format(form: str, spell: Callable[[int], Any], tmp_path: Path) -> None:
    """L1, L17: names that are integers sort by number, and 2, 2.0 and "2" are one label."""
    names = [str(digit) for digit in DIGITS]
    found = run_rows(labelled(*names), FORMATS[form](tmp_path, labelled(*map(spell, DIGITS))))
    assert found.labels.names == ("-4", "0", "1", "2", "3", "10", "11")
    assert labels_of(found.validation) == labels_of(found.train) == names
    again = run_rows(FORMATS[form](tmp_path, labelled(*map(spell, DIGITS))), labelled(*names))
    assert again.labels == found.labels
    assert labels_of(again.validation) == names


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet", "python", "dataset"])
def test_l1_lists_of_integers_are_lists_of_names(form: str, tmp_path: Path) -> None:
    found = run_rows(labelled(["4", "5"], ["10"]), FORMATS[form](tmp_path, labelled([5, 10], [4])))
    assert found.labels.names == ("4", "5", "10")
    assert labels_of(found.validation) == [("5", "10"), ("4",)]


@pytest.mark.parametrize("label", [0, 4, -1, "0"])
def test_l2_an_integer_against_names_that_were_found_is_refused(label: Any) -> None:
    message = refused_by_run(labelled("sun", "rain", "fog"), labelled(label))
    assert f"row 0: label: labels are names here, 'fog', 'rain', 'sun'; {label} is not one of them" in message


@pytest.mark.parametrize(
    ("names", "label", "expected"),
    [
        pytest.param(["2", "1", "0"], 0, "0", id="L3: the name that it spells"),
        pytest.param(["2", "1", "0"], "2", "2", id="L3: text"),
        pytest.param(["10", "20", "30"], 30, "30", id="L9: integers far from 0"),
        pytest.param(["neg", "pos"], 1, "pos", id="L2: a place in the author's list"),
        pytest.param(["neg", "pos"], "1", "pos", id="L2: text in CSV is the same"),
        pytest.param(["b ", "a"], " b", "b", id="L8: names are stripped"),
    ],
)
def test_l3_given_names_decide(names: list[str], label: Any, expected: str) -> None:
    given = labelled(label, *names)
    assert labels_of(run_rows(given, data__labels=names).train)[0] == expected


@pytest.mark.parametrize("label", [0, 1, 40])
def test_l3_no_integer_is_a_place_among_names_that_are_integers(label: int) -> None:
    message = refused_by_run(labelled(10, 20), labelled(label), data__labels=["10", "20", "30"])
    assert f"row 0: label: '{label}' is unknown; labels are '10', '20', '30'" in message


@pytest.mark.parametrize("integer", [pyarrow.int8(), pyarrow.int64(), pyarrow.uint16(), pyarrow.float32()], ids=str)
def test_l4_multi_hot_of_any_type_is_read_where_the_names_are_given(integer: pyarrow.DataType, tmp_path: Path) -> None:
    column = pyarrow.array([[0, 0, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]], pyarrow.list_(integer))
    table = pyarrow.table({"input_text": list("abcd"), "label": column})
    pyarrow.parquet.write_table(table, tmp_path / "hot.parquet")
    found = run_rows(tmp_path / "hot.parquet", data__labels=["a", "b", "c"])
    assert labels_of(found.train) == [("c",), ("a",), ("a", "b"), ()]


def test_l4_arrays_of_numpy_are_multi_hot_too() -> None:
    found = run_rows(labelled(np.array([0, 0, 1]), np.array([1.0, 0.0, 0.0])), model__num_labels=3)
    assert (found.labels.names, labels_of(found.train)) == (("0", "1", "2"), [("2",), ("0",)])


def rows(*labels: Any) -> list[Example]:
    return [Example(input_text="a", label=label) for label in labels]


def test_names_and_integers_encode_to_the_same_index() -> None:
    labels = LabelSet(("no", "yes", "maybe"))
    assert labels.encode("maybe") == labels.encode(2) == (2,)


def test_several_labels_are_sorted() -> None:
    labels = LabelSet(("a", "b", "c"), multi_label=True)
    assert labels.encode(("c", "a")) == (0, 2)
    assert labels.encode(()) == ()


@pytest.mark.parametrize(
    ("multi_label", "label", "message"),
    [
        (False, "z", "f:3: label: 'z' is unknown; labels are 'a', 'b' (correct the row; for training, data.labels"),
        (False, 2, "f:3: label: 2 is out of range; labels are 0 to 1"),
        (False, -1, "f:3: label: -1 is out of range; labels are 0 to 1"),
        (False, ("a",), "f:3: label: a list (('a',)) where the other rows have one label"),
        (True, "a", "f:3: label: one label ('a') where the other rows have a list of labels"),
        (True, ("a", "z"), "f:3: label: 'z' is unknown"),
    ],
)
def test_a_label_that_does_not_fit_is_named(multi_label: bool, label: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        LabelSet(("a", "b"), multi_label=multi_label).encode(label, "f:3")
    assert str(caught.value).startswith(message)


def test_answers_are_written_in_words() -> None:
    labels = LabelSet(("false", "true"), ("no", "yes"))
    assert labels.write((1,)) == "yes"
    several = LabelSet(("a", "b", "c"), multi_label=True)
    assert several.write((0, 2)) == "a, c"
    assert several.write(()) == "none"
