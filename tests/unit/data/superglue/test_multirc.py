"""MultiRC: its prompt, labels, metrics, and what its records become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhrd.data.sources import open_source
from dhrd.data.superglue.multirc import TASK
from dhrd.errors import DataError
from helpers.superglue import PASSAGE, gives_away, labels_of, row_of_both, write_official

TEXT = "Paragraph: Some passage.\nQuestion: q?\nAnswer: a\nIs this answer right?"


def test_a_record_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row_of_both("multirc", tmp_path, monkeypatch) == ("multirc-train-3-7-9", "multirc-train-3", "true", TEXT)


def test_labels_words_and_metrics() -> None:
    labels = labels_of(TASK)
    assert (labels.names, labels.words) == (("false", "true"), ("no", "yes"))
    assert TASK.metrics == ("f1a", "em")


def test_words_that_give_the_label_away() -> None:
    assert gives_away(TASK, "it is right")
    assert not gives_away(TASK, "the paragraph says so")


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


@dataclass(frozen=True)
class Answers:
    """Judgements of five answers to three questions about two paragraphs."""

    ids = [f"multirc-train-{end}" for end in ("0-0-0", "0-0-1", "0-1-2", "1-0-0", "1-0-1")]  # noqa: RUF012
    gold_BC = np.eye(2, dtype=int)[[1, 0, 1, 1, 1]]
    predicted_BC = np.eye(2, dtype=int)[[1, 1, 1, 0, 1]]

    @property
    def hits_B(self) -> np.ndarray:
        """Answers that are judged rightly."""
        return (self.gold_BC == self.predicted_BC).all(axis=1)


def test_its_own_metrics_and_groups() -> None:
    scores = {score.name: score for score in TASK.scores}
    assert set(scores) == set(TASK.metrics)
    assert scores["f1a"].of(Answers()) == pytest.approx(2 * 3 / (4 + 4))
    assert scores["em"].of(Answers()) == pytest.approx(1 / 3), "one question of three has every answer right"
    assert TASK.group_of is not None
    assert [TASK.group_of(row_id) for row_id in Answers.ids] == ["multirc-train-0"] * 3 + ["multirc-train-1"] * 2
    with pytest.raises(DataError, match="a MultiRC id is multirc-SPLIT-PARAGRAPH-QUESTION-ANSWER"):
        TASK.group_of("row 5")
