"""BoolQ: its prompt, labels, metrics, and what its records become."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.data.superglue.boolq import TASK
from helpers.superglue import gives_away, labels_of, row_of_both

TEXT = "Passage: Some passage.\nQuestion: is it so?\nIs the answer yes or no?"


def test_a_record_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row_of_both("boolq", tmp_path, monkeypatch) == ("boolq-train-3", None, "true", TEXT)


def test_labels_words_and_metrics() -> None:
    labels = labels_of(TASK)
    assert (labels.names, labels.words) == (("false", "true"), ("no", "yes"))
    assert TASK.metrics == ("accuracy",)


def test_words_that_give_the_label_away() -> None:
    assert gives_away(TASK, "that is correct")
    assert not gives_away(TASK, "the passage says so")
