"""COPA: its prompt, labels, metrics, and what its records become."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.data.superglue.copa import TASK
from helpers.superglue import gives_away, labels_of, row_of_both

TEXT = "Premise: p\nChoice 1: a\nChoice 2: b\nWhich choice is the cause of the premise?"


def test_a_record_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row_of_both("copa", tmp_path, monkeypatch) == ("copa-train-3", None, "choice2", TEXT)


def test_labels_words_and_metrics() -> None:
    labels = labels_of(TASK)
    assert (labels.names, labels.words) == (("choice1", "choice2"), ("choice 1", "choice 2"))
    assert TASK.metrics == ("accuracy",)


def test_words_that_give_the_label_away() -> None:
    assert gives_away(TASK, "the second choice")
    assert not gives_away(TASK, "rain makes one wet")
