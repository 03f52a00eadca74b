"""RTE: its prompt, labels, metrics, and what its records become."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.data.superglue.rte import TASK
from helpers.superglue import gives_away, labels_of, row_of_both

TEXT = "Premise: p\nHypothesis: h\nDoes the premise entail the hypothesis?"


def test_a_record_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row_of_both("rte", tmp_path, monkeypatch) == ("rte-train-3", None, "not_entailment", TEXT)


def test_labels_words_and_metrics() -> None:
    labels = labels_of(TASK)
    assert (labels.names, labels.words) == (("entailment", "not_entailment"), ("entailment", "not entailment"))
    assert TASK.metrics == ("accuracy",)


def test_words_that_give_the_label_away() -> None:
    assert gives_away(TASK, "it contradicts it")
    assert not gives_away(TASK, "the premise says so")
