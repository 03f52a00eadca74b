"""What `dhrd label` and `dhrd rationales generate` share on the command line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import typer

from dhrd.cli.label import LabelCommand
from dhrd.cli.rationales import GenerateCommand
from dhrd.cli.teacher import end
from dhrd.rationales.output import Written


def test_each_command_has_the_shared_flags_and_its_own() -> None:
    label, generate = set(LabelCommand.settings), set(GenerateCommand.settings)
    assert label - generate == {"teacher.labels", "teacher.votes"}
    assert generate - label == {"teacher.label_hidden", "teacher.samples"}
    assert len(label & generate) == 18


@pytest.mark.parametrize(
    ("written", "require_all", "code"),
    [
        ({"num_rows": 3, "num_written": 3}, True, None),
        ({"num_rows": 3, "num_written": 2, "rejected": {"empty": 1}}, False, None),
        ({"num_rows": 3, "num_written": 2, "rejected": {"empty": 1}}, True, 1),
        ({"num_rows": 3, "num_written": 2, "num_open": 1}, False, 3),
        ({"num_rows": 2, "rejected": {"cut": 2}}, False, 3),
        ({"num_rows": 2, "rejected": {"cut": 1, "empty": 1}}, False, None),
    ],
)
def test_how_a_run_ends(tmp_path: Path, written: dict[str, object], require_all: bool, code: int | None) -> None:
    given = written | {"rejected": Counter(written.get("rejected", {}))}  # type: ignore[arg-type]
    ended = Written(output=tmp_path / "o.jsonl", **given)  # type: ignore[arg-type]
    if code is None:
        end(ended, require_all=require_all)
        return
    with pytest.raises(typer.Exit) as left:
        end(ended, require_all=require_all)
    assert left.value.exit_code == code
