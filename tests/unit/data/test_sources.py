"""From what a config names to checked rows: good paths, every kind of bad row, joining rationales."""

from __future__ import annotations

import csv
import hashlib
import tracemalloc
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
        ({"input_text": "a", "label": "x", "id": 1.5}, "id: 1.5 is neither text nor an integer; correct the row"),
        ({"input_text": "a", "label": "x", "id": True}, "id: True is neither text nor an integer"),
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


def test_bad_rows_of_every_kind_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"input_text": "a", "label": "x"}\n{"input_text": "b", "label": "x"\n\n[1]\n{"input_text": "\xff"}\n'
        b'{"label": "x"}\n{"input_text": "a", "label": 0.5}\n{"input_text": "a", "label": "x"}\n'
    )
    lines = error_of(path).splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{path}:{number}" for number in (2, 4, 5, 6, 7)]
    assert [word in line for word, line in zip(("JSON", "object", "UTF-8", "input_text", "label"), lines, strict=True)]


@pytest.mark.parametrize(("num_bad", "num_reported", "more"), [(9, 9, False), (10, 10, True), (25, 10, True)])
def test_at_most_ten_bad_rows_are_reported(num_bad: int, num_reported: int, more: bool) -> None:
    lines = error_of([{"input_text": ""}] * num_bad).splitlines()
    assert sum("input_text: empty" in line for line in lines) == num_reported
    assert (lines[-1] == "(there may be more)") == more


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"body": "a", "label": "x"}, "row 0: input_text: missing; the row has body, label"),
        ({"input_text": "a", "queue": "x"}, "row 0: label: missing; the row has input_text, queue"),
        ({"body": "a", "queue": "x"}, "row 0: input_text, label: there is no column 'input_text' and no column"),
    ],
)
def test_a_column_that_all_rows_lack_is_told_once(row: dict[str, Any], told: str) -> None:
    for count, more in ((3, "; 2 more rows are like it"), (25, "; at least 9 more rows are like it")):
        (line,) = error_of([row] * count).splitlines()
        assert line.startswith(told) and line.endswith(more)
    mixed = error_of([row, {**row, "input_text": "", "label": "x"}])
    assert len(mixed.splitlines()) == 2 and "more rows" not in mixed


def test_rows_before_the_first_bad_one_are_yielded() -> None:
    rows = open_source([*ROWS, {"input_text": ""}, *ROWS], PLAIN).examples()
    assert [next(rows).id, next(rows).id] == ["r0", "r1"]
    with pytest.raises(DataError, match="row 2"):
        next(rows)


def test_a_row_that_is_no_row() -> None:
    assert error_of([5]) == "row 0: a row must be a text, a dict or an Example, got a int"
    (row,) = load(["just a text"], labels_required=False)
    assert (row.input_text, row.label) == ("just a text", None)


def test_labels_may_be_absent_where_they_are_not_needed() -> None:
    settings = DataSettings(columns={"label": "gold", "input_text": "body"})
    (row,) = load([{"body": "a"}], settings, labels_required=False)
    assert row.label is None
    assert "label: there is no column 'gold', which data.columns names; known are body" in error_of(
        [{"body": "a"}], settings
    )


def test_a_limit_takes_the_first_rows(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [*ROWS, {"input_text": ""}])
    assert [row.id for row in load(path, limit=1)] == ["r0"]
    assert len(load(path, limit=2)) == 2


def test_no_rows_is_an_error(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [])
    assert error_of(path) == f"{path}: no rows"


def test_columns_are_mapped_and_the_template_sees_both_names() -> None:
    settings = DataSettings(
        columns={"input_text": "review", "label": "stars", "rationale": "why", "id": "key", "group": "shop"},
        input_template="{{ shop }}: {{ input_text }} / {{ review }}",
    )
    source = open_source([{"review": "nice", "stars": 5, "why": "w", "key": "k", "shop": "s", "label": "no"}], settings)
    (row,) = source.load()
    assert (row.input_text, row.label, row.rationale, row.id, row.group) == ("nice", "5", "w", "k", "s")
    assert row.columns()["review"] == row.columns()["input_text"] == "nice"


@pytest.mark.parametrize("field", ["input_text", "label", "id", "group"])
def test_a_mapped_column_that_is_not_there_is_named(field: str) -> None:
    message = error_of(ROWS, DataSettings(columns={field: "nowhere"}))
    assert message.splitlines()[0] == (
        f"row 0: {field}: there is no column 'nowhere', which data.columns names; "
        f"known are id, input_text, label, rationale, group (map it with `data.columns.{field}=COLUMN`)"
    )


def test_a_mapped_rationale_may_be_absent_as_rows_without_one_are_ordinary() -> None:
    rows = [{"input_text": "a", "label": "x", "why": "w"}, {"input_text": "b", "label": "y"}]
    assert [row.rationale for row in load(rows, DataSettings(columns={"rationale": "why"}))] == ["w", None]


def test_a_template_needs_no_input_text() -> None:
    settings = DataSettings(input_template="{{ premise }} {{ hypothesis }}")
    rows = [{"premise": "p", "hypothesis": "h", "label": "x", "input_text": 7}]
    assert load(rows, settings)[0].fields["premise"] == "p"
    assert error_of([{"premise": "p", "label": "x"}], settings).startswith("row 0: input_template: 'hypothesis' is")


def test_a_template_that_is_none_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"data\.input_template"):
        load(ROWS, DataSettings(input_template="{{ premise"))


def test_unknown_tasks_files_and_splits(tmp_path: Path) -> None:
    assert "superglue:cbb: no such task; tasks are boolq, cb, copa, multirc, rte, wic, wsc" in error_of("superglue:cbb")
    settings = DataSettings(superglue_root=str(tmp_path))
    message = error_of("superglue:cb", settings)
    assert f"{tmp_path}/CB/train.jsonl: no such file; data.superglue_root must hold CB/train.jsonl" in message
    with pytest.raises(DataError, match="no split 'dev'; splits are train, validation, test"):
        open_source("superglue:cb", settings, split="dev")
    assert "unknown kind of file" in error_of(tmp_path / "rows.txt")


def test_examples_stream_in_constant_memory(tmp_path: Path) -> None:
    peaks = []
    for num_rows in (1_000, 10_000):
        path = tmp_path / f"{num_rows}.jsonl"
        path.write_text('{"input_text": "some text of a row", "label": "yes"}\n' * num_rows, encoding="utf-8")
        source = open_source(path, PLAIN)
        next(source.examples())  # compile the template outside the measurement
        tracemalloc.start()
        assert sum(1 for _ in source.examples()) == num_rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 50_000


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
    with pytest.raises(ConfigError, match=rf"{spec}: names no data set; give hub:NAME"):
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


def test_a_look_at_the_first_row_says_what_reading_all_would(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for content, message in (("", "no rows"), ('{"body": "a", "label": "x"}\n', "input_text: missing")):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=message) as looked:
            open_source(path, PLAIN).check()
        with pytest.raises(DataError) as read:
            open_source(path, PLAIN).load()
        assert str(looked.value) == str(read.value)
    path.write_text('{"input_text": "a"}\n{"input_text": 5}\n', encoding="utf-8")
    open_source(path, PLAIN).check(labels_required=False)  # the first alone
    with pytest.raises(DataError, match="label: missing"):
        open_source(path, PLAIN).check()


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


def test_a_stream_and_the_hub_are_not_looked_at() -> None:
    for spec in ("-", "hub:org/name", "superglue:cb"):
        open_source(spec, PLAIN).check()
