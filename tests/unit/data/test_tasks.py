"""Rows of several tasks: their label sets, counts, and rows that have a label of none."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import datasets
import pytest

from dhrd.config import RunConfig, load_config
from dhrd.config.tasks import TaskSettings
from dhrd.data.label_space import LabelSpace
from dhrd.data.labels import ByTask, LabelSet
from dhrd.data.records import Example
from dhrd.data.rows import Rows, load_rows
from dhrd.data.tasks import check_labelled, infer_label_space
from dhrd.errors import DataError

TASKS = {"mood": TaskSettings(), "tags": TaskSettings(column="t", multi_label=True)}


def example(**labels: Any) -> Example:
    return Example(label=ByTask(labels), where="row")


def settings(*overrides: str) -> RunConfig:
    tasks = "tasks={mood: {}, tags: {column: t, multi_label: true}}"
    return load_config(overrides=[tasks, "loss.reasoning_weight=0", "data.label_separator=|", *overrides])


def rows_of(*rows: dict[str, Any], overrides: tuple[str, ...] = ()) -> Rows:
    given = [{"input_text": f"text {index}", **row} for index, row in enumerate(rows)]
    return load_rows(settings(*overrides), train_dataset=given)


def test_each_task_has_labels_of_its_own() -> None:
    rows = [example(mood="low", tags=("x",)), example(mood="high"), example(tags=("y", "x"))]
    space = infer_label_space(rows, TASKS, {"mood": LabelSet(("low", "high"))}.get)
    assert space.names == ("mood/low", "mood/high", "tags/x", "tags/y")
    assert [task.labels.multi_label for task in space.tasks] == [False, True]
    given = {"mood": TaskSettings(labels=("high", "low", "even"))}
    assert infer_label_space(rows, given, {"mood": LabelSet(("low", "high"))}.get).names[2] == "mood/even"


def test_a_task_without_labels_names_its_column() -> None:
    with pytest.raises(DataError, match=r"tasks\.tags: no training row has a label in 't'"):
        infer_label_space([example(mood="low"), example(mood="high")], TASKS, lambda _: None)
    with pytest.raises(DataError, match=r"tasks\.mood: the training rows have 1 label"):
        infer_label_space([example(mood="low")], TASKS, lambda _: None)


def test_rows_may_lack_a_task_and_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dhrd"):
        rows = rows_of({"mood": "low", "t": "x|y"}, {"mood": "high"}, {"mood": None, "t": ""}, {"t": "y"})
    assert isinstance(rows.labels, LabelSpace)
    assert "labels of 4 training rows: 2 of mood, 3 of tags" in caplog.text
    assert [row.label for row in rows.train] == [
        ByTask({"mood": "low", "tags": ("x", "y")}),
        ByTask({"mood": "high"}),
        ByTask({"tags": ()}),
        ByTask({"tags": ("y",)}),
    ]


def test_a_row_without_any_label_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"row 2: label: missing for every task \(mood \(column 'mood'\), tags \(column 't'\)\)"
    ):
        rows_of({"mood": "low", "t": "x"}, {"mood": "high", "t": "y"}, {"other": 1})
    empty = [Example(label=ByTask({}), rationale="Because.", where="row 1")]
    check_labelled(empty, TASKS, reads_rationales=True)
    with pytest.raises(DataError, match="row 1: label: missing for every task"):
        check_labelled(empty, TASKS, reads_rationales=False)


def test_a_bad_label_names_its_task() -> None:
    with pytest.raises(DataError, match=r"row 1: mood: label: 1\.5 is neither an integer"):
        rows_of({"mood": "low", "t": "x"}, {"mood": 1.5, "t": "y"})


def test_noise_is_drawn_for_each_task_among_the_rows_that_have_it() -> None:
    rows = [
        {"mood": ("low", "high")[i % 2], "kind": ("a", "b", "c")[i % 3]} | ({"kind": None} if i % 4 else {})
        for i in range(80)
    ]
    config = load_config(overrides=["tasks={mood: {}, kind: {}}", "loss.reasoning_weight=0", "data.label_noise=0.5"])
    given = [{"input_text": f"text {index}", **row} for index, row in enumerate(rows)]
    noisy = load_rows(config, train_dataset=given).train
    clean = load_rows(
        config.model_copy(update={"data": config.data.model_copy(update={"label_noise": 0.0})}), train_dataset=given
    ).train
    changed = {
        task: [
            ours.label.labels.get(task) != theirs.label.labels.get(task)
            for ours, theirs in zip(noisy, clean, strict=True)
        ]
        for task in ("mood", "kind")
    }  # type: ignore[union-attr]
    assert [row.label.labels.keys() for row in noisy] == [row.label.labels.keys() for row in clean]  # type: ignore[union-attr]
    assert 5 < sum(changed["mood"]) <= 40 and 1 < sum(changed["kind"]) <= 10
    assert changed["mood"] != changed["kind"]


def test_the_task_of_an_examples_rationale_is_kept() -> None:
    rows = [
        Example(
            input_text=f"text {index}",
            label=ByTask({"mood": "ab"[index % 2], "tags": ("x", "y")[: 1 + index % 2]}),
            rationale="because",
            rationale_task="tags" if index else None,
        )
        for index in range(4)
    ]
    loaded = load_rows(settings(), train_dataset=rows).train
    assert [row.rationale_task for row in loaded] == [None, "tags", "tags", "tags"]
    assert [row.label for row in loaded] == [row.label for row in rows]
    columns = Example(input_text="a", rationale="r", rationale_task="tags", fields={"mood": "a", "t": "x|y"})
    (first, *_) = load_rows(settings(), train_dataset=[columns, *rows]).train
    assert (first.rationale_task, first.label) == ("tags", ByTask({"mood": "a", "tags": ("x", "y")}))
    with pytest.raises(DataError, match="rationale_task: 'colour' is no task; there are mood, tags"):
        load_rows(settings(), train_dataset=[replace(row, rationale_task="colour") for row in rows])


def test_several_labels_are_several_where_the_source_has_a_label_set_too() -> None:
    """A ClassLabel says which labels there are; the settings, whether a row may have several."""
    names = datasets.ClassLabel(names=["p", "q", "r"])
    features = datasets.Features({"input_text": datasets.Value("string"), "mood": names, "t": datasets.List(names)})
    rows = [{"input_text": f"text {index}", "mood": index % 3, "t": [index % 3]} for index in range(6)]
    labels = load_rows(settings(), train_dataset=datasets.Dataset.from_list(rows, features=features)).labels
    assert [task.labels.multi_label for task in labels.slices] == [False, True]
    one = datasets.Dataset.from_list(
        [{**row, "t": index % 3} for index, row in enumerate(rows)],
        features=datasets.Features({**features, "t": names}),
    )
    labels = load_rows(settings(), train_dataset=one).labels  # the separator makes one label a list of one
    assert [task.labels.multi_label for task in labels.slices] == [False, True]
