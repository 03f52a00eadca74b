"""What panels have in common."""

from __future__ import annotations

from dhrd.experiments.report.figures.looks import looks_of
from dhrd.experiments.report.figures.panels import Panel, thinned
from dhrd.experiments.report.schema import Report
from helpers.report import full_report, task_of


def test_thinning_keeps_both_ends() -> None:
    kept = thinned(range(1000))
    assert len(kept) == 240 and (kept[0], kept[-1]) == (0, 999)
    assert thinned([1, 2, 3]) == [1, 2, 3]


def test_arms_without_the_part_are_left_out_and_tasks_without_any_arm() -> None:
    given = full_report(num_tasks=2)
    task_of(given, 0)["arms"][0]["curve"] = []
    for arm in task_of(given, 1)["arms"]:
        arm["curve"] = []
    report = Report.model_validate(given)
    painted = []
    panel = Panel(part=lambda cell: cell.curve, paint=lambda _, arms: painted.append(arms) or "seen")
    (drawing,) = panel.draw(report, looks_of(report))
    assert [arm.name for arm, _ in painted[0]] == ["dhrd"]
    assert (drawing.title, drawing.seen) == ("boolq", "boolq: seen")
