"""Accuracy against queries per second, a panel a task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from dhrd.experiments.report.figures.drawing import GROUND, Drawing, make_axes, name_axes, write_in_percent
from dhrd.experiments.report.figures.looks import ArmLook, Looks, Style
from dhrd.experiments.report.figures.panels import Painted, Panel
from dhrd.experiments.report.schema import ArmResult, Interval, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT, _TOP, _BOTTOM = 270, 26, 42


@dataclass(frozen=True, slots=True)
class _Point:
    """An arm's rate, accuracy, what an answer costs, and the slowest and fastest repetition."""

    rate: float
    accuracy: float
    cost: str
    span: Interval | None


def draw_speed(report: Report, looks: Looks) -> Iterator[Drawing]:
    """All panels to one scale."""
    points = [point for _, _, cell in report.cells() if (point := _point(cell))]
    return Panel(part=_point, paint=partial(_paint, scale=points), width=440, height=_HEIGHT).draw(report, looks)


def _point(cell: ArmResult) -> _Point | None:
    """None where a number lacks, or the rate has no logarithm."""
    speed = cell.speed
    if speed is None or not speed.queries_per_second or speed.accuracy is None or speed.queries_per_second < 0:
        return None
    tokens, unparsable = speed.mean_new_tokens, speed.unparsable_share
    cost = "tokens unknown" if tokens is None else f"{tokens:.3g} tokens"
    cost += "" if unparsable is None else f", {100 * unparsable:.0f} % unparsable"
    span = (speed.min, speed.max) if speed.min is not None and speed.max is not None else None
    return _Point(speed.queries_per_second, speed.accuracy, cost, span)


def _paint(figure: Figure, painted: Painted[_Point], *, scale: Sequence[_Point]) -> str:
    axes = make_axes(figure, left=48, right=12, top=_TOP, bottom=_BOTTOM)
    _scale(axes, [point.rate for point in scale], [point.accuracy for point in scale])
    for arm, point in painted:
        _draw(axes, arm, point)
    _label(axes, [point for _, point in painted])
    axes.minorticks_off()
    axes.locator_params(axis="x", subs=(1, 3))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    write_in_percent(axes, "y")
    name_axes(axes, "queries per second (log scale)", "accuracy")
    said = [
        f"{arm.title} {100 * point.accuracy:.1f} % at {point.rate:.3g} a second, {point.cost}" for arm, point in painted
    ]
    return f"accuracy against queries per second. {'; '.join(said)}."


def _scale(axes: Axes, rates: Sequence[float], accuracies: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(rates) / 2.2, max(rates) * 2.2)
    middle = (min(accuracies) + max(accuracies)) / 2
    half = max(0.05, 0.65 * (max(accuracies) - min(accuracies)))
    axes.set_ylim(middle - half, middle + half)


def _draw(axes: Axes, arm: ArmLook, point: _Point) -> None:
    """A marker on a bar from the slowest repetition to the fastest."""
    if point.span:
        axes.plot(point.span, [point.accuracy] * 2, color=arm.look.colour, linewidth=2, alpha=0.6)
    look: Style = {"color": arm.look.colour, "marker": arm.look.marker, "markersize": 9, "zorder": 4}
    axes.plot([point.rate], [point.accuracy], markeredgecolor=GROUND, markeredgewidth=0.8, **look)


def _label(axes: Axes, points: Sequence[_Point]) -> None:
    """Labels beside their markers, on the side with room, moved apart where they would lie on each other."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    ordered = sorted(points, key=lambda point: point.accuracy)
    gap = 15 * (high - low) / (_HEIGHT - _TOP - _BOTTOM)
    for side, shift in (("right", -11), ("left", 11)):
        group = [point for point in ordered if (point.rate > math.sqrt(left * right)) == (side == "right")]
        style: Style = {"xytext": (shift, 0), "textcoords": "offset pixels", "ha": side, "va": "center", "fontsize": 11}
        for point, place in zip(group, spaced([point.accuracy for point in group], gap), strict=True):
            axes.annotate(point.cost, (point.rate, place), **style)


def spaced(places: Sequence[float], gap: float) -> list[float]:
    """Rising places moved until each is a gap above the one before, about where they were on the whole."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    shift = sum(new - old for new, old in zip(moved, places, strict=True)) / max(1, len(places))
    return [place - shift for place in moved]
