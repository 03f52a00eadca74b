"""Accuracy against the number of training rows: a line an arm, its 95 % interval over seeds as a band."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import fmean, stdev
from typing import Any

import numpy as np
from scipy import stats

from dhrd.experiments.report.figures.arms import Arm
from dhrd.experiments.report.figures.svg import Drawing, make_axes, make_drawing, name_axes, write_in_percent
from dhrd.experiments.report.numbers import is_number
from dhrd.experiments.report.schema import first_metric

_LEAST_POINTS = 3  # a line through fewer says little
_WIDTH, _HEIGHT = 360, 330
_LEFT, _RIGHT, _LINE = 46, 128, 15  # the labels stand right of the lines

_Points = list[tuple[float, float, float]]
"""Training rows, mean, and half the width of the interval over seeds."""


def draw_by_rows(report: dict[str, Any], arms: dict[str, Arm]) -> Iterator[Drawing]:
    """One drawing: a panel for each setting of the other factors at which at least three numbers of rows were run."""
    panels = {name: lines for name, found in _panels(report).items() if (lines := _lines(found, arms))}
    if panels:
        yield make_drawing(partial(_paint, panels=panels), name="by-rows", width=_WIDTH * len(panels), height=_HEIGHT)


def _panels(report: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The tasks that differ in the number of training rows alone, by what they have in common."""
    panels: dict[str, list[dict[str, Any]]] = {}
    for backbone in report["backbones"][:1]:
        for task in backbone["tasks"]:
            if is_number(task["factors"].get("rows")):
                others = {name: value for name, value in task["factors"].items() if name != "rows"}
                panels.setdefault(", ".join(f"{name} {value:g}" for name, value in others.items()), []).append(task)
    return panels


def _lines(tasks: Sequence[dict[str, Any]], arms: dict[str, Arm]) -> list[tuple[Arm, _Points]]:
    lines: dict[str, _Points] = {}
    for task in sorted(tasks, key=lambda task: float(task["factors"]["rows"])):
        for cell in task["arms"]:
            values = [one["values"].get(first_metric(task)) for one in cell["seeds"]]
            if len(values) > 1 and all(map(is_number, values)):
                lines.setdefault(str(cell["arm"]), []).append((task["factors"]["rows"], fmean(values), _half(values)))
    return [(arms[name], points) for name, points in lines.items() if len(points) >= _LEAST_POINTS]


def _half(values: Sequence[float]) -> float:
    """Half the width of the 95 % t interval of the mean over seeds."""
    return float(stats.t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5)


def _paint(figure: Any, *, panels: dict[str, list[tuple[Arm, _Points]]]) -> str:
    ends = [mean + sign * half for lines in panels.values() for _, points in lines for _, mean, half in points
            for sign in (-1, 1)]  # fmt: skip
    low, high = max(0.0, min(ends) - 0.01), min(1.0, max(ends) + 0.01)
    seen = []
    for number, (name, lines) in enumerate(panels.items()):
        beside = (len(panels) - 1 - number) * _WIDTH
        axes = make_axes(figure, left=_LEFT + number * _WIDTH, right=_RIGHT + beside, top=40, bottom=40)
        axes.set_ylim(low, high)
        for arm, points in lines:
            _draw(axes, arm, points)
        _label(axes, lines)
        _scale(axes, sorted({rows for _, points in lines for rows, _, _ in points}))
        name_axes(axes, "training rows", f"accuracy: {name}" if name else "accuracy")
        seen += [
            f"{name}: {arm.title} {100 * points[0][1]:.1f} to {100 * points[-1][1]:.1f} %" for arm, points in lines
        ]
    return "Accuracy against training rows, with 95 % intervals over seeds. " + "; ".join(seen) + "."


def _draw(axes: Any, arm: Arm, points: _Points) -> None:
    rows, means, halves = np.array(points).T
    axes.fill_between(rows, means - halves, means + halves, color=arm.colour, alpha=0.14, linewidth=0)
    axes.plot(rows, means, color=arm.colour, linestyle=arm.dashes, marker=arm.marker, markersize=4.5)


def _label(axes: Any, lines: Sequence[tuple[Arm, _Points]]) -> None:
    """Each line's name at its right end, moved so far that names do not touch."""
    low, high = axes.get_ylim()
    height = (high - low) * _LINE / (_HEIGHT - 80)
    ordered = sorted(lines, key=lambda line: line[1][-1][1])
    places = [points[-1][1] for _, points in ordered]
    for _ in range(100):  # each pair that is too close goes apart by half of what is missing
        for i in range(len(places) - 1):
            missing = height - (places[i + 1] - places[i])
            if missing > 1e-9:
                places[i], places[i + 1] = places[i] - missing / 2, places[i + 1] + missing / 2
    last = max(points[-1][0] for _, points in lines)
    for (arm, _), place in zip(ordered, places, strict=True):
        axes.annotate(arm.title, (last, place), xytext=(10, 0), textcoords="offset pixels", color=arm.colour,
                      va="center", fontsize=11, annotation_clip=False)  # fmt: skip


def _scale(axes: Any, rows: Sequence[float]) -> None:
    """Each doubling as wide as the next, and a tick at every number that was run but those too close to another."""
    axes.set_xscale("log", base=2)
    ticks: list[float] = []
    for number in rows:
        ticks += [number] if not ticks or number >= 1.7 * ticks[-1] else []
    axes.set_xticks(ticks, [f"{number:,.0f}" for number in ticks])
    axes.minorticks_off()
    write_in_percent(axes.yaxis)
