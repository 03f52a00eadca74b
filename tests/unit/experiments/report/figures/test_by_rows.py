"""Accuracy against training rows."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from helpers.report import (
    SVG,
    by_rows_report,
    write_report,
)


def test_accuracy_by_rows_is_a_file_that_follows_the_readers_mode(tmp_path: Path) -> None:
    paths = write_report(by_rows_report(), tmp_path)
    assert paths[-1] == tmp_path / "accuracy_by_rows.svg"
    svg = ElementTree.fromstring(paths[-1].read_text())
    seen = svg.findtext(f"{SVG}title") or ""
    assert "hops 3, noise 0: Pooled 62.5 to 77.5 %; hops 3, noise 0: Dhrd 62.5 to 77.5 %; hops 3, noise 0.25" in seen
    assert "hops 1" not in seen  # one number of rows is no line
    text = paths[-1].read_text()
    assert "prefers-color-scheme: dark" in text
    assert [part for part in ("100", "400", "1,600") if f">{part}<" not in text] == []
    assert paths[-1].read_text().count("fill-opacity: 0.14") >= 4


def test_without_several_numbers_of_rows_there_is_no_such_file(tmp_path: Path) -> None:
    report = by_rows_report()
    report["backbones"][0]["tasks"] = report["backbones"][0]["tasks"][:2]
    assert [path.name for path in write_report(report, tmp_path)] == ["report.json", "report.md", "report.html"]
