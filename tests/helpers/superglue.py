"""One record of each SuperGLUE task in the official files and in the hub's, and what a task says of itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import datasets
import pytest

from dhrd.config import DataSettings
from dhrd.data.label_sets import check_label_set
from dhrd.data.records import Example, LabelSet
from dhrd.data.sources import open_source
from dhrd.data.superglue import TASKS
from dhrd.data.superglue.task import Task
from dhrd.data.templates import InputTemplate

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


def write_official(folder: Path, task: str, records: list[dict[str, Any]], split: str = "train") -> DataSettings:
    """A split in the official layout."""
    path = folder / TASKS[task].folder / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return DataSettings(superglue_root=str(folder))


def from_hub(monkeypatch: pytest.MonkeyPatch, task: str, record: dict[str, Any]) -> list[Example]:
    """The rows of a record as the hub has it."""
    names, _ = HUB[task]
    data = datasets.Dataset.from_list([record])
    data = data.cast_column("label", datasets.ClassLabel(names=names))
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: data)
    return open_source(f"superglue:{task}", DataSettings()).load(labels_required=record["label"] >= 0)


def essence(example: Example, task: str) -> tuple[Any, ...]:
    """Id, group, label and prompt of a row."""
    text = InputTemplate(TASKS[task].template).render(example.columns())
    return example.id, example.group, example.label, text


def row_of_both(task: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """The row that both records of a task must become."""
    (official,) = open_source(f"superglue:{task}", write_official(folder, task, [OFFICIAL[task]])).load()
    (hub,) = from_hub(monkeypatch, task, HUB[task][1])
    assert essence(official, task) == essence(hub, task)
    return essence(official, task)


def labels_of(task: Task) -> LabelSet:
    """A task's labels with their words, which must be fit to be learned."""
    labels = LabelSet(task.labels, task.words)
    check_label_set(labels)
    return labels


def gives_away(task: Task, text: str) -> bool:
    """Whether a rationale has a word that the task says gives the label away."""
    return re.search("|".join(task.leaks), text) is not None
