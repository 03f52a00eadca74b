"""Records of a SuperGLUE file: labels are names, however they are written, and what is no record is told."""

from __future__ import annotations

import pytest

from dhrd.data.row import BadRow, Row
from dhrd.data.superglue import TASKS
from dhrd.data.superglue.records import task_rows
from helpers.superglue import OFFICIAL


@pytest.mark.parametrize(("written", "name"), [(True, "true"), (1, "true"), ("False", "false"), (-1, None)])
def test_a_label_is_a_name_however_it_is_written(written: object, name: str | None) -> None:
    (row,) = task_rows(TASKS["boolq"], iter([Row("f:1", {**OFFICIAL["boolq"], "label": written})]), "train")
    assert isinstance(row, Row)
    label = row.columns["label"]
    assert (str(label).lower() if label is not None else None) == name
    assert row.columns["id"] == f"boolq-train-{OFFICIAL['boolq']['idx']}"


def test_what_is_no_record_is_told_and_ends_nothing() -> None:
    records = [BadRow("f:1", "no JSON"), Row("f:2", {"text": "only this"}), Row("f:3", OFFICIAL["boolq"])]
    first, second, third = task_rows(TASKS["boolq"], iter(records), "train")
    assert first is records[0]
    assert isinstance(second, BadRow)
    assert (second.where, "is missing or of the wrong type" in second.problem) == ("f:2", True)
    assert isinstance(third, Row)
