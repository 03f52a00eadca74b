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

from dhrd.config import load_config
from dhrd.data.label_names import as_label
from dhrd.data.label_sets import infer_labels
from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import Rows, load_rows
from dhrd.errors import DataError
from helpers.rows import write_jsonl


def rows(*labels: Any) -> list[dict[str, Any]]:
    return [{"input_text": f"note {number}", "label": label} for number, label in enumerate(labels)]


def load(train: Any, validation: Any = None, **settings: Any) -> Rows:
    """Training and validation rows as a run reads them, without rationales."""
    return load_rows(load_config(loss__reasoning_weight=0, **settings), train, validation)


def refused(train: Any, validation: Any = None, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(train, validation, **settings)
    return str(caught.value)


def labels_of(examples: list[Example]) -> list[Any]:
    return [example.label for example in examples]


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
    found = load(rows(*names), FORMATS[form](tmp_path, rows(*map(spell, DIGITS))))
    assert found.labels.names == ("-4", "0", "1", "2", "3", "10", "11")
    assert labels_of(found.validation) == labels_of(found.train) == names
    again = load(FORMATS[form](tmp_path, rows(*map(spell, DIGITS))), rows(*names))
    assert again.labels == found.labels
    assert labels_of(again.validation) == names


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet", "python", "dataset"])
def test_l1_lists_of_integers_are_lists_of_names(form: str, tmp_path: Path) -> None:
    found = load(rows(["4", "5"], ["10"]), FORMATS[form](tmp_path, rows([5, 10], [4])))
    assert found.labels.names == ("4", "5", "10")
    assert labels_of(found.validation) == [("5", "10"), ("4",)]


@pytest.mark.parametrize("label", [0, 4, -1, "0"])
def test_l2_an_integer_against_names_that_were_found_is_refused(label: Any) -> None:
    message = refused(rows("sun", "rain", "fog"), rows(label))
    assert f"row 0: label: labels are names here, 'fog', 'rain', 'sun'; {label} is none of them" in message


WEATHER = datasets.Features(
    {"input_text": datasets.Value("string"), "label": datasets.ClassLabel(names=["sun", "rain", "fog"])}
)
SEVERAL = datasets.Features(
    {"input_text": datasets.Value("string"), "label": datasets.List(datasets.ClassLabel(names=["sun", "rain", "fog"]))}
)
WRITERS = {
    "jsonl": datasets.Dataset.to_json,
    "csv": datasets.Dataset.to_csv,
    "parquet": datasets.Dataset.to_parquet,
}


def weather(*labels: Any, features: datasets.Features = WEATHER) -> datasets.Dataset:
    return datasets.Dataset.from_list(rows(*labels), features=features)


@pytest.mark.parametrize("kind", WRITERS)
def test_l2_a_data_sets_own_export_means_what_it_means(kind: str, tmp_path: Path) -> None:
    """L2: a ClassLabel's own order is the label set, for its integers in files too."""
    data, path = weather(0, 2, 1, 0), tmp_path / f"rows.{kind}"
    WRITERS[kind](data, path)
    found = load(data, path)
    assert found.labels == LabelSet(("sun", "rain", "fog"))
    assert labels_of(found.validation) == labels_of(found.train) == ["sun", "fog", "rain", "sun"]


def test_l2_the_schema_of_a_parquet_file_has_the_names(tmp_path: Path) -> None:
    weather(2, 0, 1).to_parquet(tmp_path / "rows.parquet")
    assert load(tmp_path / "rows.parquet").labels.names == ("sun", "rain", "fog")
    weather([2, 0], [1], features=SEVERAL).to_parquet(tmp_path / "several.parquet")
    found = load(tmp_path / "several.parquet", rows([0, 0, 1], [1]))
    assert labels_of(found.train) == [("sun", "fog"), ("rain",)]
    assert labels_of(found.validation) == [("fog",), ("rain",)]


def test_l2_so_does_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: weather(1, 0))
    assert load("hub:owner/weather").labels.names == ("sun", "rain", "fog")


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
    given = rows(label, *names)
    assert labels_of(load(given, data__labels=names).train)[0] == expected


@pytest.mark.parametrize("label", [0, 1, 40])
def test_l3_no_integer_is_a_place_among_names_that_are_integers(label: int) -> None:
    message = refused(rows(10, 20), rows(label), data__labels=["10", "20", "30"])
    assert f"row 0: label: '{label}' is unknown; labels are '10', '20', '30'" in message


@pytest.mark.parametrize("integer", [pyarrow.int8(), pyarrow.int64(), pyarrow.uint16(), pyarrow.float32()], ids=str)
def test_l4_multi_hot_of_any_type_is_read_where_the_names_are_given(integer: pyarrow.DataType, tmp_path: Path) -> None:
    column = pyarrow.array([[0, 0, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]], pyarrow.list_(integer))
    table = pyarrow.table({"input_text": list("abcd"), "label": column})
    pyarrow.parquet.write_table(table, tmp_path / "hot.parquet")
    found = load(tmp_path / "hot.parquet", data__labels=["a", "b", "c"])
    assert labels_of(found.train) == [("c",), ("a",), ("a", "b"), ()]


def test_l4_arrays_of_numpy_are_multi_hot_too() -> None:
    found = load(rows(np.array([0, 0, 1]), np.array([1.0, 0.0, 0.0])), model__num_labels=3)
    assert (found.labels.names, labels_of(found.train)) == (("0", "1", "2"), [("2",), ("0",)])


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        pytest.param(([0, 0, 1], [1, 0, 0]), {}, "[0, 0, 1] looks like multi-hot", id="L4: no names"),
        pytest.param(([0.0, 1.0, 1.0], [1, 0, 0]), {}, "[0, 1, 1] looks like multi-hot", id="L4: decimals"),
        pytest.param(([0, 1], [1, 0]), {}, "[0, 1] looks like multi-hot", id="L4: two labels"),
        pytest.param(([0, 1], [1, 1]), {"data__labels": ["a", "b"]}, "is multi-hot, or lists both", id="L4: either"),
        pytest.param(([0, 0, 1], [1]), {"data__labels": list("abcd")}, "these rows have 4 labels", id="L4: length"),
        pytest.param(([True, False], [False, True]), {}, "has booleans; list the names", id="L4: booleans"),
        pytest.param((["a", "a"], ["b"]), {}, "['a', 'a'] has 'a' twice", id="L4: twice"),
        pytest.param((["a", "a "], ["b"]), {}, "has 'a' twice", id="L4: twice but for space"),
        pytest.param(([2, 2], [1]), {}, "[2, 2] has '2' twice", id="L4: integers twice"),
        pytest.param((["a", ""], ["b"]), {}, "['a', ''] has an empty name", id="L4: empty"),
        pytest.param((["a", "\u200b"], ["b"]), {}, "has an empty name", id="L4: nothing to see"),
        pytest.param((["a", None], ["b"]), {}, "['a', None] is neither an integer, a name", id="L4: null"),
    ],
)
def test_l4_lists_that_cannot_be_meant(labels: Any, settings: dict[str, Any], message: str) -> None:
    assert message in refused(rows(*labels), **settings)


def test_l4_lists_of_places_stay_lists() -> None:
    found = load(rows([0, 2], [1], []), data__labels=["a", "b", "c"])
    assert labels_of(found.train) == [("a", "c"), ("b",), ()]


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(("spam", "spam "), id="L8: space at the end"),
        pytest.param(("pos", " \tpos\u00a0"), id="L8: space of any kind"),
        pytest.param(("for\u00eat", "fore\u0302t"), id="L8: composed and decomposed"),
        pytest.param(("a", "a\u200b"), id="L8: zero width"),
        pytest.param(("a", "\ufeffa"), id="L8: byte order mark"),
        pytest.param(("1", "1.0"), id="L8: whole decimals"),
        pytest.param((1, 1.0), id="L17: numbers"),
    ],
)
def test_l8_spellings_of_one_label_are_one_label(pair: tuple[Any, Any]) -> None:
    found = load(rows(*pair, "other"))
    assert len(found.labels) == 2
    assert found.train[0].label == found.train[1].label


def test_l1_a_plus_sign_is_part_of_the_text(tmp_path: Path) -> None:
    path = as_csv(tmp_path, rows("+1", "-1"))
    assert load(path).labels.names == ("+1", "-1")
    assert "1 is unknown; labels are '+1', '-1'" in refused(path, rows(1, -1)).replace("'1'", "1")


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(("US", "us"), id="L7: case"),
        pytest.param(("ß", "ss"), id="L7: case folding"),
        pytest.param(("new york", "newyork"), id="L8: space inside"),
        pytest.param(("so\u200bso", "soso"), id="L8: zero width inside"),
        pytest.param(("FORÊT", "fore\u0302t"), id="L8: case and Unicode form"),
    ],
)
@pytest.mark.parametrize("given", [False, True], ids=["found", "given"])
def test_l7_names_alike_but_for_case_or_space_are_refused_with_counts(pair: tuple[str, str], given: bool) -> None:
    message = refused(rows(pair[0], *pair, "other"), **({"data__labels": [*pair, "other"]} if given else {}))
    assert message.startswith("labels that differ in case or space alone: ")
    assert "(2 rows)" in message
    assert "(1 rows)" in message


@pytest.mark.parametrize("blank", ["", "  ", "\u200b", "\u00ad \ufeff", None, float("nan")])
def test_l8_blank_labels_are_refused(blank: Any) -> None:
    assert "row 1: label: missing" in refused(rows("a", blank, "b"))


def test_l8_a_name_of_two_lines_is_refused() -> None:
    assert "a name is one line" in refused(rows("a\nb", "c"))


@pytest.mark.parametrize(
    ("labels", "settings", "names"),
    [
        pytest.param((0, 1990), {}, ("0", "1990"), id="L9: far apart"),
        pytest.param((0, 2_000_000_000), {}, ("0", "2000000000"), id="L9: farther"),
        pytest.param((30, 10, 20), {}, ("10", "20", "30"), id="L9: tens"),
        pytest.param((30, 10, 20), {"model__num_labels": 3}, ("10", "20", "30"), id="L9: tens, counted"),
        pytest.param((1, 2), {}, ("1", "2"), id="L9: from one"),
        pytest.param((1, 0), {"model__num_labels": 3}, ("0", "1", "2"), id="L9: the highest left out"),
        pytest.param((-1, 1), {}, ("-1", "1"), id="L9: signed"),
    ],
)
def test_l9_integers_are_names_wherever_they_begin(labels: Any, settings: Any, names: tuple[str, ...]) -> None:
    assert load(rows(*labels), **settings).labels.names == names


@pytest.mark.parametrize("per_label", [1, 2], ids=["a class a row", "two rows a class"])
def test_l9_very_many_labels_are_a_question(per_label: int) -> None:
    examples = [Example(label=f"id{i // per_label}") for i in range(1001 * per_label)]
    with pytest.raises(DataError, match=r"have 1001 labels .*; if that is meant, give model\.num_labels=1001"):
        infer_labels(examples)
    assert len(infer_labels(examples, num_labels=1001)) == 1001


def test_l9_so_is_a_label_a_row() -> None:
    assert "the 25 training rows have 25 labels" in refused(rows(*(f"id{i}" for i in range(25))))
    assert len(load(rows(*map(str, range(12)))).labels) == 12  # a dozen rows may be


def test_l9_a_class_that_never_occurs_is_said(caplog: pytest.LogCaptureFixture) -> None:
    load(rows(0, 1), model__num_labels=4)
    assert "labels: no training row has '2', '3'" in caplog.text


@pytest.mark.parametrize("required", ["train", "validation"])
def test_l16_minus_one_of_a_class_label_is_unlabelled(required: str) -> None:
    data = weather(0, 1, -1)
    message = refused(data) if required == "train" else refused(weather(0, 1), data)
    assert "row 2: label: missing" in message
    assert "the -1 of a ClassLabel mean unlabelled" in message


def test_l16_a_class_absent_from_train_is_known_to_the_data_set() -> None:
    found = load(weather(0, 1), weather(2))
    assert labels_of(found.validation) == ["fog"]


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (np.int64(3), "3"),
        (np.float32(3), "3"),
        (np.str_("a"), "a"),
        (np.bool_(True), "true"),
        (np.array(7), "7"),
        (np.array(["a", "b"]), ("a", "b")),
        (("a", "b"), ("a", "b")),
        ({"b", "a"}, ("a", "b")),
        (False, "false"),
        ("007", "007"),
        ("NaN", "NaN"),
        ("-0.0", "0"),
        ("1e3", "1e3"),
        ("v1.0", "v1.0"),
    ],
)
def test_l17_one_step_from_any_value_to_a_name(value: Any, label: Any) -> None:
    """L15, L17: scalars of NumPy and whole decimals are the integers that they are; text stays as it is spelled."""
    assert as_label(value) == label


@pytest.mark.parametrize("value", [1.5, float("inf"), b"a", {"a": 1}, [["a"]], [0.5], object()])
def test_l17_what_is_no_label_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is neither an integer, a name, nor a list of names; correct the row"):
        as_label(value)


@pytest.mark.parametrize("blank", ["\0", "\u3164", "\u2800", "\uffa0", "\x1f\x7f"], ids=ascii)
def test_l8_what_is_not_seen_makes_no_other_label(blank: str) -> None:
    """L8: fillers, empty braille and padding are space as well."""
    assert labels_of(load(rows("spam", f"spam{blank}", "ham")).train) == ["spam", "spam", "ham"]
    assert "label: missing" in refused(rows("spam", blank))


def test_l8_given_names_that_are_one_are_shown_as_given() -> None:
    message = refused(rows("a", "b"), data__labels=["a", "b", "a "])
    assert "data.labels: 'a' and 'a ' are the same label; name it once" in message
