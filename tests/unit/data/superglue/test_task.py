"""The seven SuperGLUE tasks: rows of the official files and of the hub's, labels, ids, metrics."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dhrd.config import DataSettings
from dhrd.data.rationales import join_rationales
from dhrd.data.sources import open_source
from dhrd.data.superglue import TASKS
from dhrd.errors import DataError
from helpers.runs import read_jsonl
from helpers.superglue import HUB, OFFICIAL, from_hub, write_official


def test_there_are_the_paper_s_seven_tasks() -> None:
    assert list(TASKS) == ["boolq", "cb", "copa", "multirc", "rte", "wic", "wsc"]
    assert {name: task.name for name, task in TASKS.items()} == {name: name for name in TASKS}
    assert len({task.folder for task in TASKS.values()}) == 7


@pytest.mark.parametrize("task", TASKS)
def test_the_source_knows_its_labels_words_and_template(task: str, tmp_path: Path) -> None:
    source = open_source(f"superglue:{task}", write_official(tmp_path, task, [OFFICIAL[task]]))
    assert source.task is TASKS[task]
    assert source.labels is not None
    assert (source.labels.names, source.labels.ordered) == (TASKS[task].labels, True)
    assert source.labels.words == (TASKS[task].words or TASKS[task].labels)
    assert source.template == TASKS[task].template
    mine = open_source(f"superglue:{task}", DataSettings(superglue_root=str(tmp_path), input_template="{{ id }} mine"))
    assert mine.template == "{{ id }} mine"


@pytest.mark.parametrize("task", TASKS)
def test_hub_rows_without_a_label(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = from_hub(monkeypatch, task, {**HUB[task][1], "label": -1})
    assert row.label is None


@pytest.mark.parametrize("task", TASKS)
def test_a_record_of_another_shape_is_named(task: str, tmp_path: Path) -> None:
    settings = write_official(tmp_path, task, [OFFICIAL[task], {"premise": "only this"}])
    with pytest.raises(DataError) as caught:
        open_source(f"superglue:{task}", settings).load()
    path, missing = tmp_path / TASKS[task].folder / "train.jsonl", "span1_text" if task == "wsc" else "idx"
    assert str(caught.value) == (
        f"{path}:2: not a {TASKS[task].folder} record: '{missing}' is missing or of the wrong type"
    )


@pytest.mark.parametrize(
    ("task", "wrong"),
    [
        ("multirc", {"passage": "text"}),
        ("multirc", {"passage": {"text": "t", "questions": 5}}),
        ("wsc", {"target": "text"}),
        ("wsc", {"text": None}),
        ("wsc", {"target": {**OFFICIAL["wsc"]["target"], "span2_index": "4"}}),
        ("wsc", {"target": {**OFFICIAL["wsc"]["target"], "span2_index": 5, "span2_text": "won by far"}}),
    ],
)
def test_a_record_with_a_part_of_the_wrong_type_is_named(task: str, wrong: dict[str, Any], tmp_path: Path) -> None:
    settings = write_official(tmp_path, task, [{**OFFICIAL[task], **wrong}])
    with pytest.raises(DataError, match=rf"train.jsonl:1: not a {TASKS[task].folder} record: "):
        open_source(f"superglue:{task}", settings).load()


@pytest.mark.parametrize("task", ["cb", "copa", "rte"])
def test_a_null_field_is_not_read_as_the_word_none(task: str, tmp_path: Path) -> None:
    settings = write_official(tmp_path, task, [{**OFFICIAL[task], "premise": None}])
    with pytest.raises(DataError, match=r"train.jsonl:1: input_template: .* is null"):
        open_source(f"superglue:{task}", settings).load()


COUNTS = {
    "boolq": (9427, 3270), "cb": (250, 56), "copa": (400, 100), "multirc": (27243, 4848), "rte": (2490, 277),
    "wic": (5428, 638), "wsc": (554, 104),
}  # fmt: skip
NUM_RATIONALES = {
    "boolq": 399, "cb": 250, "copa": 400, "multirc": 409, "rte": 2490, "wic": 500, "wsc": 554,
}  # fmt: skip


class TestRealData:
    """The real files, where they are."""

    @pytest.mark.parametrize("task", TASKS)
    def test_counts_ids_labels_and_rationales(self, task: str, shared_data: Path) -> None:
        settings = DataSettings(superglue_root=str(shared_data / "superglue"))
        source = open_source(f"superglue:{task}", settings)
        assert source.labels is not None
        train = source.load()
        assert len(train) == COUNTS[task][0]
        assert len({row.id for row in train}) == len(train)
        assert {source.labels.encode(row.label, row.where) for row in train} == {  # type: ignore[arg-type]
            (index,) for index in range(len(TASKS[task].labels))
        }
        path = shared_data / "rationales" / "teacher" / f"{task}.jsonl"
        joined = join_rationales(train, path)
        assert sum(row.rationale is not None for row in joined) == NUM_RATIONALES[task] == len(read_jsonl(path))

    @pytest.mark.parametrize("task", TASKS)
    def test_the_validation_split(self, task: str, shared_data: Path) -> None:
        settings = DataSettings(superglue_root=str(shared_data / "superglue"))
        rows = open_source(f"superglue:{task}", settings, split="validation").load()
        assert len(rows) == COUNTS[task][1]
        shape = r"multirc-validation-\d+-\d+-\d+" if task == "multirc" else rf"{task}-validation-\d+"
        assert all(re.fullmatch(shape, row.id) for row in rows)

    def test_the_labels_of_cb(self, shared_data: Path) -> None:
        rows = open_source("superglue:cb", DataSettings(superglue_root=str(shared_data / "superglue"))).load()
        assert rows[0].id == "cb-train-0"
        assert Counter(row.label for row in rows) == {"entailment": 115, "contradiction": 119, "neutral": 16}

    def test_the_paragraphs_of_multirc(self, shared_data: Path) -> None:
        settings = DataSettings(superglue_root=str(shared_data / "superglue"))
        rows = open_source("superglue:multirc", settings, split="validation").load()
        assert len({row.group for row in rows}) == 83

    def test_the_pronouns_of_wsc_are_marked(self, shared_data: Path) -> None:
        rows = open_source("superglue:wsc", DataSettings(superglue_root=str(shared_data / "superglue"))).load()
        assert sum(bool(re.search(r"(^|\s)\*\w+", row.fields["text"])) for row in rows) == len(rows) == 554
