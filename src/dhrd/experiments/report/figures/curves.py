"""Training losses by step, a panel a task: the label loss above the reasoning loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dhrd.experiments.report.figures.arms import Arm
from dhrd.experiments.report.figures.panels import Painted, draw_panels, thinned
from dhrd.experiments.report.figures.svg import Drawing, make_axes, name_axes
from dhrd.experiments.report.numbers import is_number

_HEIGHT, _BOTTOM = 300, 40
_SMOOTHED_SHARE = 30  # a curve is averaged over a thirtieth of its steps
_LOSSES = (("classification_loss", "label loss"), ("lm_loss", "reasoning loss"))

_Lines = list[tuple[Arm, tuple[np.ndarray, np.ndarray]]]
"""Arms with the steps and values of one loss."""


def draw_curves(report: dict[str, Any], arms: dict[str, Arm]) -> Iterator[Drawing]:
    """For each task where an arm has a curve."""
    return draw_panels(report, arms, "curves", lambda cell: bool(cell["curve"]), _paint, height=_HEIGHT)


def _paint(figure: Any, painted: Painted) -> str:
    found = [(name, _lines(painted, key)) for key, name in _LOSSES]
    found = [(name, lines) for name, lines in found if lines]
    room = (_HEIGHT - _BOTTOM) / max(1, len(found))
    last = []
    for number, (name, lines) in enumerate(found):
        num_below = len(found) - 1 - number
        axes = make_axes(figure, left=40, right=16, top=24 + number * room, bottom=_BOTTOM + num_below * room)
        _draw(axes, lines)
        axes.tick_params(axis="x", labelbottom=num_below == 0)
        name_axes(axes, "" if num_below else "step", name)
        last += [f"{arm.title} {name} {losses[-1]:.3g}" for arm, (_, losses) in lines]
    return "training losses by step, smoothed. At the end: " + ("; ".join(last) or "nothing was logged") + "."


def _lines(painted: Painted, key: str) -> _Lines:
    """Of the arms that have the loss."""
    found = [(arm, smoothed(cell["curve"], key)) for arm, cell in painted]
    return [(arm, (steps, losses)) for arm, (steps, losses) in found if len(steps)]


def _draw(axes: Any, lines: _Lines) -> None:
    for arm, (steps, losses) in lines:
        axes.plot(steps, losses, color=arm.colour, linestyle=arm.dashes, linewidth=1.6)
    axes.set_ylim(bottom=0 if min(losses.min() for _, (_, losses) in lines) < 0.7 else None)
    axes.set_xlim(0, None)
    axes.locator_params(nbins=4)


def smoothed(curve: Sequence[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and losses: a moving average over a thirtieth of the steps, then thinned."""
    known = [(point["step"], point[key]) for point in curve if is_number(point["step"]) and is_number(point[key])]
    if not known:
        return np.empty(0), np.empty(0)
    steps, losses = np.array(known, dtype=np.float64).T
    half = len(losses) // _SMOOTHED_SHARE // 2
    summed = np.concatenate([[0.0], losses.cumsum()])
    index = np.arange(len(losses))
    start, stop = np.maximum(0, index - half), np.minimum(len(losses), index + half + 1)
    smooth = (summed[stop] - summed[start]) / (stop - start)
    kept = np.array(thinned(range(len(smooth))))
    return steps[kept], smooth[kept]
