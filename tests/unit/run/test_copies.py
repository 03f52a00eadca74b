"""Copies among the rows that something is measured on."""

from __future__ import annotations

from pathlib import Path

import pytest

import dhrd
from dhrd.data.records import Example
from dhrd.run.copies import tell_copies
from helpers.runs import make_config, rows


def example(text: str, group: str | None = None) -> Example:
    return Example(id=text, input_text=text, label=(0,), group=group)


@pytest.mark.parametrize(
    ("examples", "told"),
    [
        ([example("a"), example("b")], None),
        ([example("a"), example("b"), example("a"), example(" a ")], "2 of 4 rows have the text of an earlier one"),
        ([example("a", "g"), example("a", "g"), example("b", "h")], None),
        ([example("a", "g"), example("a", "h"), example("a", "h")], "1 of 3 rows"),
    ],
)
def test_a_copy_is_told_unless_its_group_says_so(
    examples: list[Example], told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    tell_copies(examples, "rows")
    assert [record.getMessage().startswith(told or "-") for record in caplog.records] == ([True] if told else [])


def test_who_evaluates_on_copies_is_told(tiny_backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    artifact = dhrd.train(make_config(tiny_backbone, tmp_path, "training.num_epochs=1"), device="cpu").output_dir
    given = [{"input_text": f"another {row['input_text']}", "label": row["label"]} for row in rows(6)]
    dhrd.evaluate(artifact, given)
    assert "earlier one" not in caplog.text
    dhrd.evaluate(artifact, given * 2)
    assert "6 of 12 rows have the text of an earlier one" in caplog.text
