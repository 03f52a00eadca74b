"""How arms are drawn."""

from __future__ import annotations

from dhrd.experiments.report import figures
from dhrd.experiments.report.schema import Report
from helpers.report import (
    full_report,
    task_of,
)


def test_arms_keep_their_colour_when_one_is_missing_from_a_task() -> None:
    report = full_report(("pooled", "dhrd", "shuffled"), num_seeds=2, num_tasks=2)
    del task_of(report, 1)["arms"][0]
    arms = figures.looks_of(Report.model_validate(report))
    assert [(arm.name, arm.style) for arm in arms.values()] == [("pooled", 0), ("dhrd", 1), ("shuffled", 2)]
