"""Points of a figure that lack a number."""

from __future__ import annotations

import pytest

from helpers.report import (
    drawn,
    full_report,
    task_of,
    without_panels,
)


@pytest.mark.parametrize(
    ("where", "key"),
    [
        ("reliability", "confidence"),
        ("reliability", "accuracy"),
        ("reliability", "count"),
        ("reliability", "low"),
        ("risk_coverage", "risk"),
        ("risk_coverage", "coverage"),
        ("curves", "step"),
        ("curves", "classification_loss"),
        ("curves", "lm_loss"),
    ],
)
def test_figures_live_with_points_that_lack_a_number(where: str, key: str) -> None:
    whole, report = (full_report(num_tasks=1) for _ in range(2))
    task_of(without_panels(report))["comparisons"] = []
    for number, (arm, shown) in enumerate(zip(task_of(report)["arms"], task_of(whole)["arms"], strict=True)):
        found = shown["curve"] if where == "curves" else shown["calibration"][where]
        for point in found[number:]:
            point[key] = None
        arm |= {"curve": found} if where == "curves" else {"calibration": {where: found}}
    assert drawn(report | {"primary": None}) == {where: 1}
