"""Training losses by step, a panel a task: the label loss above the reasoning loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from dhrd.experiments.report.figures.drawing import Drawing, make_axes, name_axes
from dhrd.experiments.report.figures.looks import ArmLook, Looks
from dhrd.experiments.report.figures.panels import Painted, Panel, thinned
from dhrd.experiments.report.schema import CurvePoint, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT, _BOTTOM = 300, 40
_SMOOTHED_SHARE = 30  # a curve is averaged over a thirtieth of its steps

LossName = Literal["classification_loss", "lm_loss"]
_LOSSES: tuple[tuple[LossName, str], ...] = (("classification_loss", "label loss"), ("lm_loss", "reasoning loss"))

_Lines = list[tuple[ArmLook, tuple[np.ndarray, np.ndarray]]]
"""Arms with the steps and values of one loss."""


def draw_curves(report: Report, looks: Looks) -> Iterator[Drawing]:
    """For each task where an arm has a curve."""
    return Panel(part=lambda cell: cell.curve, paint=_paint, height=_HEIGHT).draw(report, looks)


def _paint(figure: Figure, painted: Painted[list[CurvePoint]]) -> str:
    losses = [(title, lines) for name, title in _LOSSES if (lines := _lines(painted, name))]
    room = (_HEIGHT - _BOTTOM) / max(1, len(losses))
    last = []
    for number, (title, lines) in enumerate(losses):
        num_below = len(losses) - 1 - number
        axes = make_axes(figure, left=40, right=16, top=24 + number * room, bottom=_BOTTOM + num_below * room)
        _draw(axes, lines)
        axes.tick_params(axis="x", labelbottom=num_below == 0)
        name_axes(axes, "" if num_below else "step", title)
        last += [f"{arm.title} {title} {values[-1]:.3g}" for arm, (_, values) in lines]
    return "training losses by step, smoothed. At the end: " + ("; ".join(last) or "nothing was logged") + "."


def _lines(painted: Painted[list[CurvePoint]], name: LossName) -> _Lines:
    """The lines of the arms that have the loss."""
    lines = [(arm, smoothed(curve, name)) for arm, curve in painted]
    return [(arm, (steps, values)) for arm, (steps, values) in lines if len(steps)]


def _draw(axes: Axes, lines: _Lines) -> None:
    for arm, (steps, values) in lines:
        axes.plot(steps, values, linewidth=1.6, **arm.line)
    axes.set_ylim(bottom=0 if min(values.min() for _, (_, values) in lines) < 0.7 else None)
    axes.set_xlim(0, None)
    axes.locator_params(nbins=4)


def smoothed(curve: Sequence[CurvePoint], name: LossName) -> tuple[np.ndarray, np.ndarray]:
    """Steps and losses: a moving average over a thirtieth of the steps, then thinned."""
    pairs = [(point.step, getattr(point, name)) for point in curve]
    known = [pair for pair in pairs if None not in pair]
    if not known:
        return np.empty(0), np.empty(0)
    steps, values = np.array(known, dtype=np.float64).T
    window = np.ones(2 * (len(values) // _SMOOTHED_SHARE // 2) + 1)
    smooth = np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")
    kept = np.array(thinned(range(len(smooth))))
    return steps[kept], smooth[kept]
