"""The rows that an artifact is evaluated or run on: its run's own, or others, as its template takes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dhrd
from dhrd import ConfigError, DataError
from dhrd.artifact.info import ArtifactInfo
from dhrd.config import DataSettings, RunConfig, load_config
from dhrd.config.tasks import TaskSettings
from dhrd.data.label_space import LabelSpace
from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import load_rows
from dhrd.data.sources import open_source
from dhrd.run.rows import (
    as_source,
    check_same_rows,
    each_row_of,
    rows_of,
    settings_of,
    tasks_of,
)
from helpers.artifacts import LABELS, change, save_tiny
from helpers.rows import write_jsonl
from helpers.runs import make_config, rows


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("rows")
    config = make_config(tiny_backbone, directory, "training.num_epochs=1", "data.validation_limit=5")
    return dhrd.train(config).output_dir


def test_the_runs_own_rows_are_as_many_as_it_used(artifact: Path) -> None:
    assert [row.id for row in rows_of(artifact)] == [f"r{number}" for number in range(20, 25)]
    assert len(rows_of(artifact, limit=3)) == 3
    assert len(rows_of(artifact, split="train")) == 20
    assert [row.id for row in each_row_of(artifact)] == [row.id for row in rows_of(artifact)]


def test_other_rows_are_all_taken(artifact: Path) -> None:
    given = rows(30)
    assert [row.input_text for row in rows_of(artifact, given)] == [row["input_text"] for row in given]
    assert len(rows_of(artifact, given, limit=2)) == 2


def test_rows_need_labels_unless_they_are_only_labelled(artifact: Path) -> None:
    given = [{"id": "a", "input_text": "text"}]
    with pytest.raises(DataError, match="label"):
        rows_of(artifact, given)
    assert rows_of(artifact, given, labels_required=False)[0].label is None


def test_labels_are_read_where_all_rows_have_one(artifact: Path) -> None:
    """From one reading, as rows may be a stream; of another label set they are no labels."""
    given = rows(6)
    assert [row.label for row in rows_of(artifact, iter(given), labels_required=None)] == [r["label"] for r in given]
    for odd in ({"label": None}, {"label": "another"}, {}):
        last = {"id": "last", "input_text": "text", **odd}
        assert {row.label for row in rows_of(artifact, iter([*given, last]), labels_required=None)} == {None}
        assert rows_of(artifact, iter([*given, last]), labels_required=None, limit=6)[0].label == given[0]["label"]
    with pytest.raises(DataError, match="input_text: empty"):
        rows_of(artifact, [{"input_text": "", "label": "keep"}], labels_required=None)


def test_rows_one_by_one_are_read_as_they_are_asked_for(artifact: Path) -> None:
    read: list[int] = []

    def source() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(rows(50)):
            read.append(number)
            yield row

    each = each_row_of(artifact, source())
    assert next(each).id == "r0"
    assert len(read) < 50
    assert len(list(each)) == 49
    with pytest.raises(DataError, match="no rows"):
        each_row_of(artifact, [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, "dev: unknown; the run has train, validation and test"),
        ({"split": "test"}, r"no rows to evaluate: .* or set data\.test"),
        ({"limit": 0}, "`limit`: give a whole number of at least 1"),
    ],
)
def test_rows_that_are_not_there(artifact: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rows_of(artifact, **options)


def test_without_run_json_the_artifacts_own_columns_hold(artifact: Path, tmp_path: Path) -> None:
    assert settings_of(artifact).data.train is not None
    tiny = save_tiny(tmp_path / "tiny")
    assert settings_of(tiny) == RunConfig()
    change(tiny / "dhrd.json", columns={"input_text": "body", "label": "queue"})
    (row,) = rows_of(tiny, [{"body": "case 1", "queue": "bill"}])
    assert (row.input_text, row.label) == ("case 1", "bill")
    labels = {"names": ["bill", "ship"], "words": ["bill", "ship"], "multi_label": True}
    change(tiny / "dhrd.json", labels=labels, label_separator="|")
    assert [row.label for row in rows_of(tiny, [{"body": "case 1", "queue": "ship|bill"}])] == [("ship", "bill")]
    change(tiny / "dhrd.json", columns={"text": "body"})
    with pytest.raises(ConfigError, match=r"dhrd\.json: data\.columns: unknown field 'text'"):
        settings_of(tiny)


def test_a_column_that_is_named_for_these_rows_must_be_there(tmp_path: Path) -> None:
    """Our own name stands in for the training rows' column, not for one that was asked for."""
    tiny = save_tiny(tmp_path / "tiny")
    change(tiny / "dhrd.json", columns={"input_text": "body", "id": "ticket"})
    given = [{"input_text": "case 1", "nr": "7"}]
    assert rows_of(tiny, given, labels_required=False)[0].input_text == "case 1"

    def named(**columns: str) -> Example:
        (row,) = rows_of(tiny, given, labels_required=False, config=load_config(data__columns=columns))
        return row

    assert named(id="nr").id == "7"
    assert named(id="id", input_text="body", label="no such column", group="nor this").input_text == "case 1"
    for column in ("id", "input_text"):
        with pytest.raises(DataError, match=f"{column}: there is no column 'nope', which data.columns names; known"):
            named(**{column: "nope"})


def test_the_tasks_of_an_artifact_are_its_own_or_the_configs() -> None:
    space = LabelSpace.of({"what": LabelSet(("x", "y")), "tags": LabelSet(("u", "v"), multi_label=True)})
    info = ArtifactInfo(kind="sequence_classifier", labels=space, task_columns={"what": "label"})
    own = {"what": TaskSettings(column="label"), "tags": TaskSettings(multi_label=True)}
    assert tasks_of(info, None) == own
    given = {"what": TaskSettings(column="queue"), "other": TaskSettings()}
    assert tasks_of(info, given) == own | {"what": TaskSettings(column="queue")}
    assert tasks_of(ArtifactInfo(kind="sequence_classifier", labels=LABELS), given) == {}


def test_rows_of_one_id_are_told_apart(artifact: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = [{**row, "id": name} for row, name in zip(rows(6), ("a", "a-2", "a", "b", "a", "a-2"), strict=True)]
    expected = ["a", "a-2", "a-3", "b", "a-4", "a-2-2"]
    assert [row.id for row in rows_of(artifact, given)] == expected
    assert [row.id for row in each_row_of(artifact, given)] == expected
    assert "2 ids occur more than once" in caplog.text


def test_examples_as_a_source_are_the_rows_that_they_were(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever columns have the names of fields that are in others: the label gets into no text, weights stay."""
    raw = [
        {
            "text": f"bag {i}",
            "label": "Acme",
            "group": "shoes",
            "weight": "11 kg",
            "category": "xy"[i % 2],
            "w": 1 + i % 2,
        }
        for i in range(6)
    ]
    given = [f"data.train={write_jsonl(tmp_path / 'train.jsonl', raw)}", "data.columns.label=category"]
    template = "data.input_template={{ label }} {{ group }}: {{ text }} weighs {{ weight }}"
    config = dhrd.load_config(overrides=[*given, template, "data.columns.weight=w", "loss.reasoning_weight=0"])
    found = load_rows(config)
    back = as_source(found.train, found.labels, like=open_source(config.data.train, config.data)).load()
    assert [replace(row, fields=was.fields) for row, was in zip(back, found.train, strict=True)] == found.train
    assert [row.rendered for row in back] == [row.rendered for row in found.train]
    caplog.clear()
    again = load_rows(config, as_source(found.train, found.labels, like=open_source(config.data.train, config.data)))
    assert again.train == back and "gives the label away" not in caplog.text


def test_rows_with_other_white_space_are_other_rows(tmp_path: Path) -> None:
    row = {"id": "a", "input_text": "a b"}
    stamp = tmp_path / "rows"
    check_same_rows(stamp, _unlabelled(row))
    check_same_rows(stamp, _unlabelled(row))
    with pytest.raises(ConfigError, match="has other rows"):
        check_same_rows(stamp, _unlabelled(row | {"input_text": "a  b"}))


def _unlabelled(row: dict[str, Any]) -> list[Example]:
    return list(open_source([row], DataSettings()).examples(labels_required=False))
