"""The figure of the README: accuracy by training rows, from the finished cells of the controlled study.

python benchmarks/readme_figure.py    docs/results/accuracy_by_rows.svg, and the same for dark pages
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dhrd.experiments.report.figures.by_rows import draw_by_rows
from dhrd.experiments.report.figures.drawing import Drawing
from dhrd.experiments.report.figures.looks import looks_of
from dhrd.experiments.report.schema import ArmResult, BackboneResult, Report, SeedResult, TaskResult
from dhrd.experiments.studies.controlled import STUDY

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
TASKS = tuple(f"rows{rows}-hops2-noise25" for rows in (200, 400, 800, 1600))
ARMS = ("pooled", "lm_on_x", "dhrd", "best")
"""All that were run at each of these numbers of rows, but shuffled rationales, whose line is that of the LM loss."""


def main() -> None:
    drawing = draw(RESULTS / "controlled" / "cells")
    (RESULTS / "accuracy_by_rows.svg").write_text(drawing.in_mode("light"), encoding="utf-8")
    (RESULTS / "accuracy_by_rows_dark.svg").write_text(drawing.in_mode("dark"), encoding="utf-8")
    print(drawing.seen)


def draw(cells: Path) -> Drawing:
    """The figure of the cells in a directory."""
    report = Report(backbones=[BackboneResult(tasks=[_task(name, cells) for name in TASKS])])
    (drawing,) = draw_by_rows(report, looks_of(report))
    return drawing


def _task(name: str, cells: Path) -> TaskResult:
    condition = STUDY.condition(name)
    assert condition is not None
    arms = [_arm(arm, [json.loads(path.read_text()) for path in cells.glob(f"{name}-*-{arm}-seed*")]) for arm in ARMS]
    return TaskResult(task=name, factors=dict(condition.factors), metrics=["accuracy"], arms=arms)


def _arm(name: str, cells: list[dict[str, Any]]) -> ArmResult:
    seeds = [
        SeedResult(seed=cell["seed"], values={"accuracy": cell["metrics"]["accuracy"]})
        for cell in sorted(cells, key=lambda cell: cell["seed"])
    ]
    return ArmResult(arm=name, title=STUDY.arm(name).title, seeds=seeds)


if __name__ == "__main__":
    main()
