"""Columns whose integers have names: of data sets, the hub and Parquet files. The letters name reported cases."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from dhrd.config import load_config
from dhrd.data.records import LabelSet
from dhrd.data.rows import load_rows
from helpers.reading import labelled, labels_of, read, refused, refused_by_run, run_rows

CLASSES = datasets.Features(
    {"input_text": datasets.Value("string"), "label": datasets.ClassLabel(names=["sun", "rain"])}
)


def weather(*, features: datasets.Features = CLASSES) -> datasets.Dataset:
    return datasets.Dataset.from_list([{"input_text": str(n), "label": n % 2} for n in range(4)], features=features)


def test_l2_a_gzipped_parquet_file_and_a_directory_have_names_too(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    weather().to_parquet(tmp_path / "all" / "B.PARQUET")
    (tmp_path / "rows.parquet.gz").write_bytes(gzip.compress((tmp_path / "all" / "B.PARQUET").read_bytes()))
    for path in (tmp_path / "rows.parquet.gz", tmp_path / "all"):
        assert load_rows(load_config(loss__reasoning_weight=0), path).labels.names == ("sun", "rain")


def test_l2_files_of_a_directory_that_name_classes_differently_are_refused(tmp_path: Path) -> None:
    weather().to_parquet(tmp_path / "a.parquet")
    other = datasets.Features({**CLASSES, "label": datasets.ClassLabel(names=["rain", "sun"])})
    weather(features=other).to_parquet(tmp_path / "b.parquet")
    assert "b.parquet: its schema names the classes differently from a.parquet" in refused(tmp_path)


@pytest.mark.parametrize(
    "metadata",
    [
        b"{not json",
        b"\xff",
        b"[]",
        b'{"info": {"features": [1]}}',
        b'{"info": {"features": {"label": {"names": "ab", "_type": "ClassLabel"}}}}',
        b'{"info": {"features": {"label": {"names": ["a", 1], "_type": "ClassLabel"}}}}',
    ],
)
def test_a15_a_schemas_metadata_that_is_none_is_one_line(metadata: bytes, tmp_path: Path) -> None:
    table = pyarrow.table({"input_text": ["a", "b"], "label": [0, 1]})
    pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": metadata}), tmp_path / "a.parquet")
    message = refused(tmp_path / "a.parquet")
    assert "write the file again" in message
    assert len(message.splitlines()) == 1


def test_a15_a_kind_of_column_that_is_not_known_yet_does_not_matter(tmp_path: Path) -> None:
    kinds = {"other": {"_type": "Hologram"}, "label": {"names": ["b", "a"], "_type": "ClassLabel"}}
    table = pyarrow.table({"input_text": ["a", "b"], "label": [0, 1]})
    metadata = {"huggingface": json.dumps({"info": {"features": kinds}})}
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    assert [one.label for one in read(tmp_path / "a.parquet")] == ["b", "a"]


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


def weather_of(*labels: Any, features: datasets.Features = WEATHER) -> datasets.Dataset:
    return datasets.Dataset.from_list(labelled(*labels), features=features)


@pytest.mark.parametrize("kind", WRITERS)
def test_l2_a_data_sets_own_export_means_what_it_means(kind: str, tmp_path: Path) -> None:
    """L2: a ClassLabel's own order is the label set, for its integers in files too."""
    data, path = weather_of(0, 2, 1, 0), tmp_path / f"rows.{kind}"
    WRITERS[kind](data, path)
    found = run_rows(data, path)
    assert found.labels == LabelSet(("sun", "rain", "fog"))
    assert labels_of(found.validation) == labels_of(found.train) == ["sun", "fog", "rain", "sun"]


def test_l2_the_schema_of_a_parquet_file_has_the_names(tmp_path: Path) -> None:
    weather_of(2, 0, 1).to_parquet(tmp_path / "rows.parquet")
    assert run_rows(tmp_path / "rows.parquet").labels.names == ("sun", "rain", "fog")
    weather_of([2, 0], [1], features=SEVERAL).to_parquet(tmp_path / "several.parquet")
    found = run_rows(tmp_path / "several.parquet", labelled([0, 0, 1], [1]))
    assert labels_of(found.train) == [("sun", "fog"), ("rain",)]
    assert labels_of(found.validation) == [("fog",), ("rain",)]


def test_l2_so_does_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: weather_of(1, 0))
    assert run_rows("hub:owner/weather").labels.names == ("sun", "rain", "fog")


@pytest.mark.parametrize("required", ["train", "validation"])
def test_l16_minus_one_of_a_class_label_is_unlabelled(required: str) -> None:
    data = weather_of(0, 1, -1)
    message = refused_by_run(data) if required == "train" else refused_by_run(weather_of(0, 1), data)
    assert "row 2: label: missing" in message
    assert "a ClassLabel's -1 mean unlabelled" in message


def test_l16_a_class_absent_from_train_is_known_to_the_data_set() -> None:
    found = run_rows(weather_of(0, 1), weather_of(2))
    assert labels_of(found.validation) == ["fog"]
