"""What confidence is worth, a panel a task: accuracy at each confidence, and errors as more rows are answered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dhrd.experiments.report.figures.drawing import GROUND, SOFT, Drawing, make_axes, name_axes, write_in_percent
from dhrd.experiments.report.figures.looks import ArmLook, Looks, Style
from dhrd.experiments.report.figures.panels import Painted, Panel, thinned
from dhrd.experiments.report.schema import CalibrationResult, Number, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Point = tuple[float, float, int]
"""Confidence, accuracy and the number of rows."""


def draw_reliability(report: Report, looks: Looks) -> Iterator[Drawing]:
    """Accuracy by confidence, all panels to one scale."""
    calibrations = _calibrations(report)
    left = min((bin_.low for each in calibrations for bin_ in each.reliability if bin_.count), default=0.0)
    accuracies = [accuracy for each in calibrations for _, accuracy, _ in _points(each)]
    lowest = max(0.0, math.floor(10 * min([left, *accuracies])) / 10)
    paint = partial(_paint_reliability, left=left, lowest=lowest)
    return Panel(part=lambda cell: _with(cell.calibration, "reliability"), paint=paint).draw(report, looks)


def draw_risk_coverage(report: Report, looks: Looks) -> Iterator[Drawing]:
    """Errors among the most confident rows, all panels to one scale, so that tasks can be compared."""
    risks = [point.risk for each in _calibrations(report) for point in each.risk_coverage]
    highest = 1.08 * max([0.05, *(risk for risk in risks if risk is not None)])
    paint = partial(_paint_risk_coverage, highest=highest)
    return Panel(part=lambda cell: _with(cell.calibration, "risk_coverage"), paint=paint).draw(report, looks)


def _calibrations(report: Report) -> list[CalibrationResult]:
    return [cell.calibration for _, _, cell in report.cells() if cell.calibration]


def _with(calibration: CalibrationResult | None, name: str) -> CalibrationResult | None:
    return calibration if calibration and getattr(calibration, name) else None


def _points(calibration: CalibrationResult) -> list[_Point]:
    """The points of the bins that are not empty."""
    bins = [bin_ for bin_ in calibration.reliability if bin_.count]
    return [
        (bin_.confidence, bin_.accuracy, bin_.count)
        for bin_ in bins
        if bin_.confidence is not None and bin_.accuracy is not None
    ]


def _paint_reliability(figure: Figure, painted: Painted[CalibrationResult], *, left: float, lowest: float) -> str:
    axes = make_axes(figure, left=48, right=24, top=26, bottom=42)
    axes.plot([left, 1], [left, 1], color=SOFT, linewidth=1, linestyle=(0, (3, 3)))
    arms = [(arm, _points(calibration)) for arm, calibration in painted]
    most = max((count for _, points in arms for _, _, count in points), default=1)
    for arm, points in arms:
        _draw_bins(axes, arm, points, most)
    axes.set_xlim(left, 1)
    axes.set_ylim(lowest, 1)
    _scale(axes, "confidence", "accuracy")
    errors = _numbers_text([(arm, calibration.ece) for arm, calibration in painted])
    return f"accuracy by confidence; on the diagonal the two agree. Calibration error: {errors}."


def _draw_bins(axes: Axes, arm: ArmLook, points: Sequence[_Point], most: int) -> None:
    """A marker's area grows with its rows."""
    confidences, accuracies, counts = zip(*points, strict=True) if points else ((), (), ())
    axes.plot(confidences, accuracies, linewidth=1, alpha=0.6, **arm.line)
    look: Style = {
        "color": arm.look.colour,
        "marker": arm.look.marker,
        "linewidths": 0.8,
        "edgecolor": GROUND,
        "alpha": 0.8,
    }
    areas = [10 + 130 * count / most for count in counts]
    axes.scatter(confidences, accuracies, s=areas, zorder=3, clip_on=False, **look)


def _paint_risk_coverage(figure: Figure, painted: Painted[CalibrationResult], *, highest: float) -> str:
    axes = make_axes(figure, left=48, right=24, top=26, bottom=42)
    for arm, calibration in painted:
        points = thinned([point for point in calibration.risk_coverage if point.risk is not None])
        across, up = np.array([(point.coverage, point.risk) for point in points], dtype=float).reshape(-1, 2).T
        axes.plot(across, up, marker=arm.look.marker, markevery=[-1], markersize=6, clip_on=False, **arm.line)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, highest)
    _scale(axes, "rows answered", "errors among them")
    areas = _numbers_text([(arm, calibration.aurc) for arm, calibration in painted])
    return f"errors among the most confident rows as more are answered. Area under the curve: {areas}."


def _scale(axes: Axes, x: str, y: str) -> None:
    write_in_percent(axes, "x")
    write_in_percent(axes, "y")
    name_axes(axes, x, y)


def _numbers_text(numbers: Sequence[tuple[ArmLook, Number]]) -> str:
    """Each arm's number."""
    return ", ".join(f"{arm.title} {value:.3f}" for arm, value in numbers if value is not None) or "not given"
