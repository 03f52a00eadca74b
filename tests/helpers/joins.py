"""Six rows, rationales of theirs, and what training makes of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dhrd.config import DataSettings, load_config
from dhrd.data.records import Example
from dhrd.data.rows import Rows, load_rows
from dhrd.data.sources import open_source
from helpers.rows import write_jsonl

ROWS = [{"input_text": f"case number {i}", "label": ("keep", "return")[i % 2]} for i in range(6)]


def train_rows(folder: Path, rows: list[dict[str, Any]], rationales: Path, **data: Any) -> Rows:
    """What training would read."""
    path = write_jsonl(folder / "t.jsonl", rows)
    return load_rows(load_config(data__train=str(path), data__rationales=str(rationales), **data))


def is_its_own(example: Example) -> bool:
    """Whether a row has the rationale that was written for its text."""
    number = example.input_text.removeprefix("case number ")
    return example.rationale is not None and f"case number {number}" in example.rationale


def with_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, with ids by their numbers."""
    return [{"id": f"t-{i}", **row} for i, row in enumerate(rows)]


def write_rationales(path: Path, digests: bool = True) -> Path:
    """A rationale for each row with an id, with or without the digest of its text."""
    examples = open_source(with_ids(ROWS), DataSettings()).load()
    lines = [{"id": e.id, "rationale": f"about {e.input_text}", "input_digest": e.digest} for e in examples]
    return write_jsonl(path, lines if digests else [{k: line[k] for k in ("id", "rationale")} for line in lines])
