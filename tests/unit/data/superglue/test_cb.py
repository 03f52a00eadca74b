"""CommitmentBank: its prompt, labels, metrics, and what its records become."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.data.records import LabelSet
from dhrd.data.sources import open_source
from dhrd.data.superglue.cb import TASK
from dhrd.errors import DataError
from helpers.superglue import OFFICIAL, gives_away, labels_of, row_of_both, write_official

TEXT = "Premise: p\nHypothesis: h\nEntailment, contradiction or neutral?"


def test_a_record_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row_of_both("cb", tmp_path, monkeypatch) == ("cb-train-3", None, "neutral", TEXT)


def test_labels_words_and_metrics() -> None:
    labels = labels_of(TASK)
    assert (labels.names, labels.words) == (
        ("entailment", "contradiction", "neutral"),
        ("entailment", "contradiction", "neutral"),
    )
    assert TASK.metrics == ("macro_f1", "accuracy")


def test_words_that_give_the_label_away() -> None:
    assert gives_away(TASK, "it entails it")
    assert not gives_away(TASK, "she says that he came")


def test_an_unknown_label_of_a_task_is_an_error(tmp_path: Path) -> None:
    settings = write_official(tmp_path, "cb", [{**OFFICIAL["cb"], "label": "perhaps"}])
    source = open_source("superglue:cb", settings)
    (row,) = source.load()
    assert source.labels == LabelSet(("entailment", "contradiction", "neutral"))
    with pytest.raises(DataError, match=r"train.jsonl:1: label: 'perhaps' is unknown"):
        source.labels.encode(row.label, row.where)  # type: ignore[arg-type]
