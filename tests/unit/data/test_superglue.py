"""The seven SuperGLUE tasks: rows of the official files and of the hub's, labels, ids, metrics."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest

from dhrd.config import DataSettings
from dhrd.data.rationales import join_rationales
from dhrd.data.records import Example, LabelSet
from dhrd.data.sources import open_source
from dhrd.data.superglue import TASKS
from dhrd.data.templates import InputTemplate
from dhrd.errors import DataError

METRICS = dict.fromkeys(("boolq", "copa", "rte", "wic", "wsc"), ("accuracy",)) | {
    "cb": ("macro_f1", "accuracy"),
    "multirc": ("f1a", "em"),
}

# One record of each task as the official files have it, as the hub has it, and what both must become.
BOOLS, PASSAGE = ["False", "True"], "Some passage."
OFFICIAL: dict[str, dict[str, Any]] = {
    "boolq": {"question": "is it so", "passage": PASSAGE, "idx": 3, "label": True},
    "cb": {"premise": "p", "hypothesis": "h", "label": "neutral", "idx": 3},
    "copa": {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": 1, "idx": 3},
    "multirc": {
        "idx": 3,
        "version": 1.1,
        "passage": {
            "text": PASSAGE,
            "questions": [{"question": "q?", "answers": [{"text": "a", "idx": 9, "label": 1}], "idx": 7}],
        },
    },
    "rte": {"premise": "p", "hypothesis": "h", "label": "not_entailment", "idx": 3},
    "wic": {"word": "w", "sentence1": "w.", "sentence2": "a w.", "idx": 3, "label": True, "start1": 0, "version": 1.1},
    "wsc": {
        "text": "Ann told Eve that she won.",
        "target": {"span1_index": 0, "span2_index": 4, "span1_text": "Ann", "span2_text": "she"},
        "idx": 3,
        "label": True,
    },
}
HUB: dict[str, tuple[list[str], dict[str, Any]]] = {
    "boolq": (BOOLS, {**OFFICIAL["boolq"], "label": 1}),
    "cb": (["entailment", "contradiction", "neutral"], {**OFFICIAL["cb"], "label": 2}),
    "copa": (["choice1", "choice2"], OFFICIAL["copa"]),
    "multirc": (
        BOOLS,
        {
            "paragraph": PASSAGE,
            "question": "q?",
            "answer": "a",
            "idx": {"paragraph": 3, "question": 7, "answer": 9},
            "label": 1,
        },
    ),
    "rte": (["entailment", "not_entailment"], {**OFFICIAL["rte"], "label": 1}),
    "wic": (BOOLS, {**OFFICIAL["wic"], "label": 1}),
    "wsc": (
        BOOLS,
        {"text": OFFICIAL["wsc"]["text"], **OFFICIAL["wsc"]["target"], "idx": 3, "label": 1},
    ),
}
LABEL = {
    "boolq": "true", "cb": "neutral", "copa": "choice2", "multirc": "true", "rte": "not_entailment", "wic": "true",
    "wsc": "true",
}  # fmt: skip
TEXT = {
    "boolq": "Passage: Some passage.\nQuestion: is it so?\nIs the answer yes or no?",
    "cb": "Premise: p\nHypothesis: h\nEntailment, contradiction or neutral?",
    "copa": "Premise: p\nChoice 1: a\nChoice 2: b\nWhich choice is the cause of the premise?",
    "multirc": "Paragraph: Some passage.\nQuestion: q?\nAnswer: a\nIs this answer right?",
    "rte": "Premise: p\nHypothesis: h\nDoes the premise entail the hypothesis?",
    "wic": 'Sentence 1: w.\nSentence 2: a w.\nDoes "w" have the same meaning in both sentences?',
    "wsc": 'Text: Ann told Eve that *she* won.\nDoes "*she*" refer to "Ann"?',
}


def write_official(folder: Path, task: str, records: list[dict[str, Any]], split: str = "train") -> DataSettings:
    path = folder / TASKS[task].folder / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return DataSettings(superglue_root=str(folder))


def from_hub(monkeypatch: pytest.MonkeyPatch, task: str, record: dict[str, Any]) -> list[Example]:
    names, _ = HUB[task]
    data = datasets.Dataset.from_list([record])
    data = data.cast_column("label", datasets.ClassLabel(names=names))
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: data)
    return open_source(f"superglue:{task}", DataSettings()).load(labels_required=record["label"] >= 0)


def essence(example: Example, task: str) -> tuple[Any, ...]:
    text = InputTemplate(TASKS[task].template).render(example.columns())
    return example.id, example.group, example.label, text


def test_there_are_the_paper_s_seven_tasks() -> None:
    assert list(TASKS) == ["boolq", "cb", "copa", "multirc", "rte", "wic", "wsc"]
    assert {name: task.metrics for name, task in TASKS.items()} == METRICS


@pytest.mark.parametrize("task", TASKS)
def test_official_and_hub_records_give_the_same_row(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (official,) = open_source(f"superglue:{task}", write_official(tmp_path, task, [OFFICIAL[task]])).load()
    (hub,) = from_hub(monkeypatch, task, HUB[task][1])
    assert essence(official, task) == essence(hub, task)
    row_id = "multirc-train-3-7-9" if task == "multirc" else f"{task}-train-3"
    group = "multirc-train-3" if task == "multirc" else None
    assert essence(official, task) == (row_id, group, LABEL[task], TEXT[task])


@pytest.mark.parametrize("task", TASKS)
def test_the_source_knows_its_labels_words_and_template(task: str, tmp_path: Path) -> None:
    source = open_source(f"superglue:{task}", write_official(tmp_path, task, [OFFICIAL[task]]))
    (row,) = source.load()
    assert source.task is TASKS[task]
    assert source.labels is not None
    assert row.label is not None
    (index,) = source.labels.encode(row.label)
    words = {"cb": "neutral", "copa": "choice 2", "rte": "not entailment"}
    assert source.labels.write((index,)) == words.get(task, "yes")
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


def test_an_unknown_label_of_a_task_is_an_error(tmp_path: Path) -> None:
    settings = write_official(tmp_path, "cb", [{**OFFICIAL["cb"], "label": "perhaps"}])
    source = open_source("superglue:cb", settings)
    (row,) = source.load()
    assert source.labels == LabelSet(("entailment", "contradiction", "neutral"))
    with pytest.raises(DataError, match=r"train.jsonl:1: label: 'perhaps' is unknown"):
        source.labels.encode(row.label, row.where)  # type: ignore[arg-type]


def test_multirc_has_one_row_an_answer_in_the_group_of_its_paragraph(tmp_path: Path) -> None:
    def question(index: int, *answers: int) -> dict[str, Any]:
        found = [{"text": "a", "idx": i, "label": i % 2} for i in answers]
        return {"question": f"q{index}", "idx": index, "answers": found}

    passage = {"text": PASSAGE, "questions": [question(4, 10, 11), question(5, 12)]}
    settings = write_official(tmp_path, "multirc", [{"idx": 2, "passage": passage}], split="val")
    rows = open_source("superglue:multirc", settings, split="validation").load()
    assert [row.id for row in rows] == [f"multirc-validation-2-{end}" for end in ("4-10", "4-11", "5-12")]
    assert {row.group for row in rows} == {"multirc-validation-2"}
    assert [row.label for row in rows] == ["false", "true", "false"]
    assert {row.where.rpartition(":")[2] for row in rows} == {"1"}


@pytest.mark.parametrize(
    ("text", "pronoun", "index", "marked"),
    [
        ("Ann saw it, and it saw Ann.", "it", 4, "Ann saw it, and *it* saw Ann."),
        ("Ann saw it, and it saw Ann.", "it", 2, "Ann saw *it,* and it saw Ann."),
        ("It rained.", "it", 0, "*It* rained."),
        ("He gave the old man his hat.", "the old man", 2, "He gave *the old man* his hat."),
        ("An index that names another word.", "it", 1, "An index that names another word."),
        ("An index beyond the text.", "it", 99, "An index beyond the text."),
    ],
)
def test_wsc_marks_the_pronoun(text: str, pronoun: str, index: int, marked: str) -> None:
    target = {"span1_text": "Ann", "span1_index": 0, "span2_text": pronoun, "span2_index": index}
    (row,) = TASKS["wsc"].rows({"text": text, "target": target, "idx": 0, "label": True}, "train")
    assert row["text"] == marked


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
        joined, report = join_rationales(train, shared_data / "rationales" / "teacher" / f"{task}.jsonl")
        assert (report.num_matched, report.num_unused) == (NUM_RATIONALES[task], 0)
        assert sum(row.rationale is not None for row in joined) == report.num_matched

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
