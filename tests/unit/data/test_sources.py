"""From what a config names to checked rows: good paths, every kind of bad row, joining rationales."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from dhrd.config import DataSettings, load_config
from dhrd.data.label_sets import infer_labels
from dhrd.data.records import Example
from dhrd.data.sources import check_sources, files_of_rows, files_of_settings, open_source
from dhrd.errors import ConfigError, DataError
from helpers.reading import PLAIN, error_of, load
from helpers.rows import write_jsonl

ROWS = [
    {"id": "r0", "input_text": "good", "label": "yes", "rationale": "because", "group": "g"},
    {"id": "r1", "input_text": "bad", "label": "no", "rationale": "", "group": "g"},
]


def as_parquet(path: Path) -> Any:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


def as_csv(path: Path) -> Any:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return path


SPECS: dict[str, Callable[[Path], Any]] = {
    "jsonl": lambda folder: write_jsonl(folder / "a.jsonl", ROWS),
    "name of a file": lambda folder: str(write_jsonl(folder / "a.jsonl", ROWS)),
    "csv": lambda folder: as_csv(folder / "a.csv"),
    "parquet": lambda folder: as_parquet(folder / "a.parquet"),
    "Dataset": lambda folder: datasets.Dataset.from_list(ROWS),
    "IterableDataset": lambda folder: datasets.IterableDataset.from_generator(lambda: iter(ROWS)),
    "dicts": lambda folder: ROWS,
    "Examples": lambda folder: [Example(**row) for row in ROWS],  # type: ignore[arg-type]
    "a generator": lambda folder: (dict(row) for row in ROWS),
}


@pytest.mark.parametrize("kind", SPECS)
def test_every_kind_of_source_gives_the_same_examples(tmp_path: Path, kind: str) -> None:
    found = load(SPECS[kind](tmp_path))
    keys = ("id", "input_text", "label", "rationale", "group")
    assert [{key: getattr(one, key) for key in keys} for one in found] == [
        {**ROWS[0]},
        {**ROWS[1], "rationale": None},  # an empty rationale is none
    ]
    assert all(one.where for one in found)


def test_rows_without_an_id_have_the_digest_of_their_text(tmp_path: Path) -> None:
    rows = [{"input_text": "a", "label": "x"}, {"input_text": "b", "label": "y", "id": 7}]
    digest = hashlib.sha256(b"a").hexdigest()[:16]
    assert [one.id for one in load(write_jsonl(tmp_path / "mine.jsonl", rows))] == [digest, "7"]
    assert [one.id for one in load([*rows, rows[0]])] == [digest, "7", f"{digest}-2"]


def test_a_file_can_be_read_twice(tmp_path: Path) -> None:
    source = open_source(write_jsonl(tmp_path / "a.jsonl", ROWS), PLAIN)
    assert source.load() == source.load()


def test_leading_zeros_survive_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,input_text,label\n001,0042,007\n", encoding="utf-8")
    (row,) = load(path)
    assert (row.id, row.input_text, row.label) == ("001", "0042", "007")


def test_class_labels_of_a_dataset_are_names() -> None:
    kind = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features({"input_text": datasets.Value("string"), "label": kind})
    columns = {"input_text": ["a", "b", "c"], "label": [1, 0, -1]}
    data = datasets.Dataset.from_dict(columns, features=features)
    assert [row.label for row in load(data, limit=2)] == ["pos", "neg"]
    assert "row 2: label: missing" in error_of(data)


def test_lists_of_class_labels_are_lists_of_names() -> None:
    kinds = datasets.List(datasets.ClassLabel(names=["joy", "anger", "fear"]))
    features = datasets.Features({"input_text": datasets.Value("string"), "label": kinds})
    data = datasets.Dataset.from_dict({"input_text": ["a", "b"], "label": [[2, 0], []]}, features=features)
    assert [row.label for row in load(data)] == [("fear", "joy"), ()]


def test_a_dictionary_of_splits_is_not_taken_for_rows() -> None:
    splits = datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)})
    assert "the data set is a mapping of train; give one split of it" in error_of(splits)
    assert "give one split" in error_of({"train": [{"input_text": "a"}]}, labels_required=False)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("yes", "yes"),
        (3, "3"),
        (3.0, "3"),
        (True, "true"),
        (False, "false"),
        (["a", "b"], ("a", "b")),
        ([1, 0], ("1", "0")),
        ([], ()),
    ],
)
def test_labels_are_integers_names_or_lists(tmp_path: Path, label: Any, expected: Any) -> None:
    (row,) = load(write_jsonl(tmp_path / "a.jsonl", [{"input_text": "a", "label": label}]))
    assert row.label == expected
    assert type(row.label) is type(expected)


@pytest.mark.parametrize("label", [0.5, [["a"]], [0.5], [None]])
def test_a_label_of_another_type_is_refused(tmp_path: Path, label: Any) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"input_text": "a", "label": label}])
    assert error_of(path) == (
        f"{path}:1: label: {label!r} is neither an integer, a name, nor a list of names; correct the row"
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"label": "x"}, "input_text: missing; the row has label (map it with `data.columns.input_text=COLUMN`)"),
        ({}, "input_text, label: there is no column 'input_text' and no column 'label'; known are no columns"),
        ({"input_text": None, "label": "x"}, "input_text: missing"),
        ({"input_text": "", "label": "x"}, "input_text: empty; fill it in or remove the row"),
        ({"input_text": " \n", "label": "x"}, "input_text: empty; fill it in or remove the row"),
        ({"input_text": 5, "label": "x"}, "input_text: 5 is not text; put it in quotes"),
        ({"input_text": ["a"], "label": "x"}, "input_text: ['a'] is not text"),
        ({"input_text": "a"}, "label: missing; the row has input_text (map it with `data.columns.label=COLUMN`)"),
        ({"input_text": "a", "label": None}, "label: missing"),
        ({"input_text": "a", "label": ""}, "label: missing"),
        ({"input_text": "a", "label": "x", "rationale": 3}, "rationale: 3 is not text; put it in quotes, or leave it"),
        ({"input_text": "a", "label": "x", "id": True}, "id: True is neither text nor an integer"),
        (
            {"input_text": "a", "label": "x", "id": 1.5},
            "id: 1.5 is neither text nor an integer; correct the row, or name another column than 'id': "
            "`data.columns.id=COLUMN`",
        ),
        ({"input_text": "a", "label": "x", "group": []}, "group: [] is neither text nor an integer"),
        ({"input_text": "half \ud83d", "label": "x"}, "input_text: '\\ud83d' at character 5 is half of a surrogate"),
        ({"input_text": "a", "label": "x", "rationale": "\udc00"}, "rationale: '\\udc00' at character 0 is half"),
    ],
)
def test_a_malformed_row_names_place_field_and_mend(row: dict[str, Any], message: str) -> None:
    good = {"input_text": "a", "label": "x"}
    text = error_of([good, row])
    assert text.startswith(f"row 1: {message}")


def test_half_an_emoji_escaped_in_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"input_text": "whole \\ud83d\\ude42", "label": "x"}\n{"input_text": "\\ud83d", "label": "x"}\n')
    assert error_of(path).startswith(f"{path}:2: input_text: ")
    assert next(open_source(path, PLAIN).examples()).input_text == "whole 🙂"


def test_a_row_that_is_no_row() -> None:
    assert error_of([5]) == "row 0: a row must be a text, a dict or an Example, got a int"
    (row,) = load(["just a text"], labels_required=False)
    assert (row.input_text, row.label) == ("just a text", None)


@pytest.mark.parametrize("field", ["input_text", "label", "id", "group"])
def test_a_mapped_column_that_is_not_there_is_named(field: str) -> None:
    message = error_of(ROWS, DataSettings(columns={field: "nowhere"}))
    assert message == (
        f"row 0: {field}: there is no column 'nowhere', which data.columns names; "
        f"known are id, input_text, label, rationale, group (map it with `data.columns.{field}=COLUMN`); "
        "1 more row is like it"
    )


def test_a_mapped_rationale_may_be_absent_as_rows_without_one_are_ordinary() -> None:
    rows = [{"input_text": "a", "label": "x", "why": "w"}, {"input_text": "b", "label": "y"}]
    assert [row.rationale for row in load(rows, DataSettings(columns={"rationale": "why"}))] == ["w", None]


def test_unknown_tasks_files_and_splits(tmp_path: Path) -> None:
    assert "superglue:cbb: no such task; tasks are boolq, cb, copa, multirc, rte, wic, wsc" in error_of("superglue:cbb")
    settings = DataSettings(superglue_root=str(tmp_path))
    message = error_of("superglue:cb", settings)
    assert f"{tmp_path}/CB/train.jsonl: no such file; data.superglue_root must contain CB/train.jsonl" in message
    with pytest.raises(DataError, match="no split 'dev'; splits are train, validation, test"):
        open_source("superglue:cb", settings, split="dev")
    assert "unknown file type" in error_of(tmp_path / "rows.txt")


class TestHub:
    """The hub is stood in for: what is tested is our side of it."""

    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
        calls: list[tuple[Any, ...]] = []

        def load_dataset(name: str, config: str | None, *, split: str) -> datasets.Dataset:
            calls.append((name, config, split))
            return datasets.Dataset.from_list(ROWS)

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return calls

    def test_name_config_and_split_are_passed_on(self, calls: list[tuple[Any, ...]]) -> None:
        source = open_source("hub:owner/name:config", PLAIN, split="validation")
        assert calls == [], "nothing is loaded before it is read"
        assert [row.id for row in source.load()] == ["r0", "r1"]
        open_source("hub:name", PLAIN).load()
        assert calls == [("owner/name", "config", "validation"), ("name", None, "train")]

    def test_superglue_comes_from_the_hub_without_a_folder(self, calls: list[tuple[Any, ...]]) -> None:
        assert "not a CB record" in error_of("superglue:cb")
        assert calls == [("aps/super_glue", "cb", "train")]

    @pytest.mark.parametrize("error", [ConnectionError("no route\nmore"), ValueError("Unknown split"), OSError()])
    def test_a_failure_to_load_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        def load_dataset(*args: Any, **kwargs: Any) -> None:
            raise error

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        message = error_of("hub:owner/name")
        first = str(error).partition("\n")[0] or "OSError"
        assert message.startswith(f"hub:owner/name: cannot be loaded ({first}); check the name and the connection")


def test_labels_that_training_does_not_know_are_named_with_their_line(tmp_path: Path) -> None:
    labels = infer_labels(load(ROWS))
    path = write_jsonl(tmp_path / "dev.jsonl", [ROWS[0], {"input_text": "a", "label": "maybe"}])
    rows = load(path)
    assert labels.encode(rows[0].label, rows[0].where) == (1,)  # type: ignore[arg-type]
    with pytest.raises(DataError) as caught:
        labels.encode(rows[1].label, rows[1].where)  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"{path}:2: label: 'maybe' is unknown; labels are 'no', 'yes'")


@pytest.mark.parametrize("spec", ["hub:", "hub::main"])
def test_a_data_set_has_a_name(spec: str) -> None:
    with pytest.raises(ConfigError, match=rf"{spec}: has no data set name; give hub:NAME"):
        open_source(spec, DataSettings())


FOLDER = DataSettings(superglue_root="/data/superglue")


@pytest.mark.parametrize(
    ("spec", "files"),
    [
        ("rows.jsonl", ["rows.jsonl"]),
        (Path("a/rows.csv"), ["a/rows.csv"]),
        ("superglue:wic", ["/data/superglue/WiC"]),
        ("superglue:none", ["superglue:none"]),
        ("hub:imdb", ["imdb"]),
        ("hub:here:part", ["here"]),
        ("file:///data/rows.csv", ["/data/rows.csv"]),
        ("simplecache::file:///data/rows.csv", ["/data/rows.csv"]),
        ("s3://bucket/rows.csv", []),
        (["a.csv", Path("b.csv")], ["a.csv", "b.csv"]),
        (["a text", {"input_text": "a"}], ["a text"]),
        ({"input_text": ["a"]}, []),
        ("", []),
        (None, []),
    ],
)
def test_the_files_of_a_spec(spec: Any, files: list[str]) -> None:
    assert [str(path) for path in files_of_rows(spec, FOLDER)] == files


def test_the_home_directory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert list(files_of_rows("~/rows.csv", FOLDER)) == [Path("/home/me/rows.csv")]


def test_the_files_of_a_run() -> None:
    settings = DataSettings(train="a.csv", test="superglue:cb", superglue_root="/data")
    assert list(map(str, files_of_settings(settings))) == ["a.csv", "/data/CB"]


def test_the_rows_of_a_run_are_looked_at_as_its_tasks_have_them(tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"input_text": "a", "topic": "x"}, {"input_text": "b", "mood": "y"}])
    several = load_config(data__train=str(rows), tasks={"topic": {}, "mood": {}})
    check_sources(several)
    with pytest.raises(DataError, match="label: missing; the row has input_text, topic"):
        check_sources(load_config(data__train=str(rows)))
    with pytest.raises(DataError, match=r"absent\.jsonl: no such file"):
        check_sources(load_config(base=several, data__validation=str(tmp_path / "absent.jsonl")))
    with pytest.raises(ConfigError, match=r"data\.train is not set"):
        check_sources(load_config())
