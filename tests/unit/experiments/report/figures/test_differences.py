"""Which differences the dot plot shows."""

from __future__ import annotations

from dhrd.experiments.report.figures.differences import draw_differences
from dhrd.experiments.report.figures.looks import looks_of
from dhrd.experiments.report.schema import Report
from helpers.report import (
    figures_of,
    full_report,
    html,
    markdown,
    without_panels,
    words,
)

# A figure takes a tenth of a second: few reports are drawn, each once, and tests of tables alone draw none.


def test_an_average_says_over_which_tasks_it_is() -> None:
    report = full_report(("pooled", "dhrd", "shuffled"), num_seeds=2, num_tasks=3)
    report["backbones"][0]["average_over"] = ["cb", "copa"]
    page = html(without_panels(report))
    assert "average over tasks cb · copa" in words(page.replace("<small>", " "))
    assert "Averages are over cb, copa." in markdown(report)
    texts = "".join(figures_of(page))
    assert "mean of 2 tasks" in texts and "mean of 3 tasks" not in texts


def test_arms_are_compared_with_several_baselines() -> None:
    report = without_panels(full_report(("pooled", "dhrd", "shuffled"), num_seeds=2, num_tasks=1))
    for task in report["backbones"][0]["tasks"]:
        task["comparisons"].append({**task["comparisons"][-1], "baseline": "dhrd"})
    for form in (words(html(report)), markdown(report)):
        assert "against" in form
    assert "DHRD, rationale shuffled − DHRD" in "".join(figures_of(html(report)))


def test_of_many_comparisons_those_over_all_tasks_are_drawn() -> None:
    report = full_report()
    backbone = report["backbones"][0]
    first = backbone["tasks"][0]["comparisons"][0]
    backbone["over_tasks"] = [{**first, "difference": 0.031, "interval_95": [0.01, 0.05], "num_tasks": 70}]
    backbone["tasks"] += [{**backbone["tasks"][0], "task": f"another-{number}"} for number in range(70)]
    read = Report.model_validate(report)
    wide, _ = draw_differences(read, looks_of(read))
    assert "+3.1" in wide.svg
    assert "another-" not in wide.svg
