"""`dhrd export`: what is refused before a model is loaded. What it writes: `unit/export`."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.artifacts import save_tiny
from helpers.runs import run_here

Capsys = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--format", "gguf"), "--format gguf: unknown; give onnx or openvino"),
        (("--min-agreement", "2"), "--min-agreement"),
        (("--limit", "0"), "--limit"),
    ],
)
def test_options_that_cannot_be(capsys: Capsys, tmp_path: Path, flags: tuple[str, ...], message: str) -> None:
    ended = run_here(capsys, "export", "--model", save_tiny(tmp_path / "model"), "--output", tmp_path / "o", *flags)
    assert ended.code == 2
    assert message in ended.err
    assert not (tmp_path / "o").exists()


def test_files_of_others_are_not_replaced(capsys: Capsys, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    place.mkdir()
    (place / "letter.txt").write_text("x", encoding="utf-8")
    model = save_tiny(tmp_path / "model")
    for flags in ((), ("--overwrite",)):
        ended = run_here(capsys, "export", "--model", model, "--output", place, *flags)
        assert ended.code == 2
        assert str(place) in ended.error_lines[0]
    assert (place / "letter.txt").read_text(encoding="utf-8") == "x"
