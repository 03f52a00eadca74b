"""Further members of the kinds of rows, tables, values and templates that were read as something else."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from dhrd.artifact.info import read_info
from dhrd.config import load_config
from dhrd.errors import ConfigError
from dhrd.run.rows import open_rows
from helpers.artifacts import save_tiny
from helpers.reading import refused


def test_a15_a_damaged_page_is_one_line(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"input_text": ["a"], "label": ["x"]}), tmp_path / "a.parquet")
    raw = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(raw[:10] + b"\xff" * 30 + raw[40:])
    assert len(refused(tmp_path / "a.parquet").splitlines()) == 1


def test_l14_evaluation_does_not_look_at_rationales(tmp_path: Path) -> None:
    info = read_info(save_tiny(tmp_path / "model"))
    rows = [{"input_text": "a", "label": "bill", "rationale": 5}, {"input_text": "b", "label": "mail", "rationale": []}]
    assert [one.label for one in open_rows(rows, "validation", load_config(), info).load()] == ["bill", "mail"]
    assert "rationale: 5 is not text" in refused(rows)


def test_l18_a_set_has_no_order(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("data:\n  labels: !!set {a, b}\n")
    with pytest.raises(ConfigError, match="a !!set has no order"):
        load_config(tmp_path / "run.yaml")
