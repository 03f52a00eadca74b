"""What confidence is worth, a panel a task: accuracy at each confidence, and errors as more rows are answered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from dhrd.experiments.report.figures.arms import Arm
from dhrd.experiments.report.figures.panels import Painted, draw_panels, thinned
from dhrd.experiments.report.figures.svg import GROUND, SOFT, Drawing, make_axes, name_axes, write_in_percent
from dhrd.experiments.report.numbers import is_number
from dhrd.experiments.report.schema import cells


def draw_reliability(report: dict[str, Any], arms: dict[str, Arm]) -> Iterator[Drawing]:
    """Accuracy by confidence, all panels to one scale."""
    bins = [one for calibration in _calibrations(report) for one in _filled_bins(calibration)]
    left = min((one["low"] for one in bins), default=0.0)
    lowest = max(0.0, math.floor(10 * min([left, *(one["accuracy"] for one in bins)])) / 10)
    paint = partial(_paint_reliability, left=left, lowest=lowest)
    return draw_panels(report, arms, "reliability", lambda cell: _has(cell, "reliability"), paint)


def draw_risk_coverage(report: dict[str, Any], arms: dict[str, Arm]) -> Iterator[Drawing]:
    """Errors among the most confident rows, all panels to one scale, so that tasks can be compared."""
    risks = [one["risk"] for calibration in _calibrations(report) for one in calibration["risk_coverage"]]
    highest = 1.08 * max([0.05, *(risk for risk in risks if is_number(risk))])
    paint = partial(_paint_risk_coverage, highest=highest)
    return draw_panels(report, arms, "risk", lambda cell: _has(cell, "risk_coverage"), paint)


def _calibrations(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell["calibration"] for _, _, cell in cells(report) if cell["calibration"]]


def _has(cell: dict[str, Any], key: str) -> bool:
    return bool(cell["calibration"] and cell["calibration"][key])


def _paint_reliability(figure: Any, painted: Painted, *, left: float, lowest: float) -> str:
    axes = make_axes(figure, left=48, right=24, top=26, bottom=42)
    axes.plot([left, 1], [left, 1], color=SOFT, linewidth=1, linestyle=(0, (3, 3)))
    most = max((one["count"] for _, cell in painted for one in _filled_bins(cell["calibration"])), default=1)
    for arm, cell in painted:
        _draw_bins(axes, arm, _filled_bins(cell["calibration"]), most)
    axes.set_xlim(left, 1)
    axes.set_ylim(lowest, 1)
    _scale(axes, "confidence", "accuracy")
    seen = "accuracy by confidence; on the diagonal the two agree. Calibration error"
    return f"{seen}: {_said(painted, 'ece')}."


def _filled_bins(calibration: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        one
        for one in calibration["reliability"]
        if one["count"] and all(is_number(one[key]) for key in ("confidence", "accuracy"))
    ]


def _draw_bins(axes: Any, arm: Arm, bins: Sequence[dict[str, Any]], most: int) -> None:
    """A marker's area grows with its rows."""
    across, up = [one["confidence"] for one in bins], [one["accuracy"] for one in bins]
    areas = [10 + 130 * one["count"] / most for one in bins]
    axes.plot(across, up, color=arm.colour, linewidth=1, alpha=0.6, linestyle=arm.dashes)
    edge = {"linewidths": 0.8, "edgecolor": GROUND}
    axes.scatter(across, up, s=areas, color=arm.colour, marker=arm.marker, alpha=0.8, zorder=3, clip_on=False, **edge)


def _paint_risk_coverage(figure: Any, painted: Painted, *, highest: float) -> str:
    axes = make_axes(figure, left=48, right=24, top=26, bottom=42)
    for arm, cell in painted:
        found = thinned([one for one in cell["calibration"]["risk_coverage"] if is_number(one["risk"])])
        across, up = [one["coverage"] for one in found], [one["risk"] for one in found]
        axes.plot(across, up, color=arm.colour, linestyle=arm.dashes)
        axes.plot(across[-1:], up[-1:], color=arm.colour, marker=arm.marker, markersize=6, clip_on=False)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, highest)
    _scale(axes, "rows answered", "errors among them")
    seen = "errors among the most confident rows as more are answered. Area under the curve"
    return f"{seen}: {_said(painted, 'aurc')}."


def _scale(axes: Any, x: str, y: str) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        write_in_percent(axis)
    name_axes(axes, x, y)


def _said(painted: Painted, key: str) -> str:
    """Each arm's number of its calibration."""
    known = [(arm.title, cell["calibration"][key]) for arm, cell in painted]
    return ", ".join(f"{title} {value:.3f}" for title, value in known if is_number(value)) or "not given"
