"""Accuracy against the number of training rows: a line an arm, its 95 % interval over seeds as a band."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from dhrd.experiments.report.figures.drawing import Drawing, make_axes, make_drawing, name_axes, write_in_percent
from dhrd.experiments.report.figures.looks import ArmLook, Looks
from dhrd.experiments.report.schema import ArmResult, Report, TaskResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEAST_POINTS = 3  # a line through fewer says little
_WIDTH, _HEIGHT = 450, 330
_LEFT, _RIGHT = 46, 210  # the legend stands right of the lines, with room for the longest title of a study

_Points = list[tuple[float, float, float]]
"""Training rows, mean, and half the width of the interval over seeds."""
_Lines = list[tuple[ArmLook, _Points]]


def draw_by_rows(report: Report, looks: Looks) -> Iterator[Drawing]:
    """One drawing: a panel for each setting of the other factors at which at least three numbers of rows were run."""
    panels = {name: lines for name, tasks in _panels(report).items() if (lines := _lines(tasks, looks))}
    if panels:
        yield make_drawing(partial(_paint, panels=panels), width=_WIDTH * len(panels), height=_HEIGHT)


def _panels(report: Report) -> dict[str, list[TaskResult]]:
    """The tasks that differ in the number of training rows alone, by what they have in common."""
    panels: dict[str, list[TaskResult]] = {}
    for task in [task for backbone in report.backbones[:1] for task in backbone.tasks]:
        if task.factors.get("rows") is not None:
            others = [f"{name} {value:g}" for name, value in task.factors.items() if name != "rows"]
            panels.setdefault(", ".join(others), []).append(task)
    return panels


def _lines(tasks: Sequence[TaskResult], looks: Looks) -> _Lines:
    lines: dict[str, _Points] = {}
    for rows, task in sorted(((task.factors["rows"] or 0, task) for task in tasks), key=lambda pair: pair[0]):
        for cell in task.arms:
            values = _values(cell, task.first_metric)
            if len(values) > 1:
                lines.setdefault(cell.arm, []).append((rows, fmean(values), _half(values)))
    return [(looks[name], points) for name, points in lines.items() if len(points) >= _LEAST_POINTS]


def _values(cell: ArmResult, metric: str | None) -> list[float]:
    """By seed; none where a seed has none."""
    values = [result.values.get(metric or "") for result in cell.seeds]
    return [] if None in values else [value for value in values if value is not None]


def _half(values: Sequence[float]) -> float:
    """Half the width of the 95 % t interval of the mean over seeds."""
    return float(stats.t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5)


def _paint(figure: Figure, *, panels: dict[str, _Lines]) -> str:
    spans = [(mean - half, mean + half) for lines in panels.values() for _, points in lines for _, mean, half in points]
    low, high = max(0.0, min(spans)[0] - 0.01), min(1.0, max(high for _, high in spans) + 0.01)
    seen = []
    for number, (name, lines) in enumerate(panels.items()):
        beside = (len(panels) - 1 - number) * _WIDTH
        axes = make_axes(figure, left=_LEFT + number * _WIDTH, right=_RIGHT + beside, top=40, bottom=40)
        axes.set_ylim(low, high)
        for arm, points in sorted(lines, key=lambda line: -line[1][-1][1]):  # the legend in the order of the ends
            _draw(axes, arm, points)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        _scale(axes, sorted({rows for _, points in lines for rows, _, _ in points}))
        name_axes(axes, "training rows", f"accuracy: {name}" if name else "accuracy")
        ends = [(arm.title, 100 * points[0][1], 100 * points[-1][1]) for arm, points in lines]
        seen += [f"{name}: {title} {first:.1f} to {last:.1f} %" for title, first, last in ends]
    return "Accuracy against training rows, with 95 % intervals over seeds. " + "; ".join(seen) + "."


def _draw(axes: Axes, arm: ArmLook, points: _Points) -> None:
    rows, means, halves = np.array(points).T
    axes.fill_between(rows, means - halves, means + halves, color=arm.look.colour, alpha=0.14, linewidth=0)
    axes.plot(rows, means, marker=arm.look.marker, markersize=4.5, label=arm.title, **arm.line)


def _scale(axes: Axes, rows: Sequence[float]) -> None:
    """Each doubling as wide as the next, and a tick at every number that was run but those too close to another."""
    axes.set_xscale("log", base=2)
    ticks: list[float] = []
    for number in rows:
        ticks += [number] if not ticks or number >= 1.7 * ticks[-1] else []
    axes.set_xticks(ticks, [f"{number:,.0f}" for number in ticks])
    axes.minorticks_off()
    write_in_percent(axes, "y")
