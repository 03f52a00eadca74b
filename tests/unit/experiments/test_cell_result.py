"""A finished cell's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dhrd.config import load_config
from dhrd.errors import DataError
from dhrd.experiments.cells import Cell, CellStore
from dhrd.experiments.study import DHRD
from helpers.experiments import cell_result

CONFIG = load_config(overrides=["model.name_or_path=some/Model-1B", "data.train=a.jsonl"])


CELL = Cell(task="mail", arm=DHRD, config=CONFIG, rows_hash="r0")


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "damaged"), ('{"metrics": 1}', "damaged"), (json.dumps({"format_version": 99}), "upgrade dhrd")],
)
def test_a_damaged_cell_is_named(tmp_path: Path, content: str, message: str) -> None:
    store = CellStore(tmp_path)
    store.save(CELL, cell_result()).write_text(content)
    with pytest.raises(DataError, match=rf"{CELL.key}.*{message}"):
        store.find(CELL)
