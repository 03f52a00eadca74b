"""Rows that weights, a temperature or a decision were chosen on are known one by one, in part too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dhrd
from dhrd.artifact.known_rows import CHOSEN, DECIDED, read_digests, write_digests
from dhrd.data.digest import digest_of
from dhrd.data.records import Example
from dhrd.run.chosen import ChosenRows, num_chosen
from dhrd.run.rows import rows_of
from helpers.runs import make_config, rows

ROWS = [Example(id=f"{i}", input_text=f"row {i}", label="a") for i in range(10)]
DIGESTS = [digest_of(row) for row in ROWS]


def marked(directory: Path, examples: list[Example], **options: bool) -> dict[str, Any]:
    chosen, metrics = ChosenRows.of(directory), {"selected_on": False, "decision": {"selected_on": False}}
    assert list(chosen.counted(examples)) == examples
    chosen.mark(metrics, **options)
    return metrics


def test_most_rows_of_a_choice_are_its_rows_and_few_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert marked(tmp_path, ROWS) == {"selected_on": False, "decision": {"selected_on": False}}
    write_digests(tmp_path / CHOSEN, DIGESTS[:4])
    assert num_chosen(tmp_path, DIGESTS) == 4
    assert not caplog.records
    assert not marked(tmp_path, ROWS)["selected_on"]
    assert "weights or a temperature were chosen on 4 of the 10 rows" in caplog.text
    caplog.clear()
    assert marked(tmp_path, ROWS[:7])["selected_on"]
    assert not caplog.records, "metrics that are marked say it themselves"


def test_the_rows_of_the_decision_count_for_what_it_answers(tmp_path: Path) -> None:
    write_digests(tmp_path / DECIDED, DIGESTS[:6])
    assert marked(tmp_path, ROWS) == {"selected_on": False, "decision": {"selected_on": True}}
    assert marked(tmp_path, ROWS, asks_decision=True)["selected_on"]
    assert not marked(tmp_path, ROWS[5:], asks_decision=True)["selected_on"]


def test_a_run_keeps_the_rows_that_its_temperature_was_fitted_on(tiny_backbone: Path, tmp_path: Path) -> None:
    config = make_config(tiny_backbone, tmp_path, "training.num_epochs=1", "training.calibrate=true")
    output = dhrd.train(config, device="cpu").output_dir
    held_out = rows_of(output, None, split="validation")
    assert read_digests(output / CHOSEN) == {digest_of(row) for row in held_out}
    assert dhrd.evaluate(output, limit=len(held_out) - 1, device="cpu").metrics["selected_on"]
    assert not dhrd.evaluate(output, rows(3), device="cpu").metrics["selected_on"]
