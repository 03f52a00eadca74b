"""Texts that stand in the rows more than once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.config import load_config
from dhrd.data.rows import load_rows
from helpers.reading import warnings_of


def test_l21_one_text_twice_is_told_with_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train = [{"input_text": t, "label": n} for t, n in (("a", "x"), ("b", "y"), ("a", "y"), ("c", "x"), ("c", "x"))]
    held = [{"input_text": t, "label": "x"} for t in ("a", "new", "b")]
    config = load_config(loss__reasoning_weight=0)
    said = warnings_of(caplog, lambda: load_rows(config, train, held))
    assert any(
        line.startswith("data.train: 1 texts stand there with more than one label (first: row 0)") for line in said
    )
    assert any(line.startswith("data.validation: 2 of 3 rows have the text of a training row") for line in said)
    assert warnings_of(caplog, lambda: load_rows(config, train[:2], held[1:2])) == []
    cut = load_config(loss__reasoning_weight=0, data__dev_share=0.5)
    said = warnings_of(caplog, lambda: load_rows(cut, [{"input_text": "a", "label": n} for n in "xxxxyyyy"]))
    assert any(line.startswith("data.dev_share: 4 of 4 rows have the text of a training row") for line in said)
