"""The radar plot."""

from __future__ import annotations

from helpers.report import (
    drawn,
    full_report,
    without_panels,
)


def test_the_radar_needs_three_tasks() -> None:
    assert drawn(without_panels(full_report(num_tasks=2))) == {"differences": 2}
    assert drawn(without_panels(full_report(num_tasks=3))) == {"differences": 2, "radar": 1}
