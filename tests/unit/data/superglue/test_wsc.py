"""WSC: its prompt, labels, metrics, and what its records become."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.data.superglue.wsc import TASK
from helpers.superglue import gives_away, labels_of, row_of_both

TEXT = 'Text: Ann told Eve that *she* won.\nDoes "*she*" refer to "Ann"?'


def test_a_record_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row_of_both("wsc", tmp_path, monkeypatch) == ("wsc-train-3", None, "true", TEXT)


def test_labels_words_and_metrics() -> None:
    labels = labels_of(TASK)
    assert (labels.names, labels.words) == (("false", "true"), ("no", "yes"))
    assert TASK.metrics == ("accuracy",)


def test_words_that_give_the_label_away() -> None:
    assert gives_away(TASK, "she refers to Ann")
    assert not gives_away(TASK, "Eve heard the news")


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
    (row,) = TASK.rows({"text": text, "target": target, "idx": 0, "label": True}, "train")
    assert row["text"] == marked
