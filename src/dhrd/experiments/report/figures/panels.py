"""Small multiples: a panel a task, one way of painting for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from dhrd.experiments.report.figures.drawing import Drawing, make_drawing
from dhrd.experiments.report.figures.looks import ArmLook, Looks
from dhrd.experiments.report.numbers import NOTHING
from dhrd.experiments.report.schema import ArmResult, Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")

_MOST_POINTS = 240

Painted = list[tuple[ArmLook, T]]
"""The arms of one task that have something to draw, each with it."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """How one kind of panel is drawn.

    Args:
        part: What is drawn of an arm; where it is empty, the arm is left out.
        paint: Paints a figure with the arms' parts and says what is seen in it.
        width: In pixels.
        height: In pixels.
    """

    part: Callable[[ArmResult], Any]
    paint: Callable[[Any, Painted[Any]], str]
    width: int = 300
    height: int = 230

    def draw(self, report: Report, looks: Looks) -> Iterator[Drawing]:
        """A drawing for each task where an arm has what is to be drawn."""
        for backbone, task in report.tasks():
            parts = [(looks[cell.arm], self.part(cell)) for cell in task.arms]
            painted = [(look, part) for look, part in parts if part]
            if painted:
                title = (task.task or NOTHING) + (f" · {backbone.name}" if len(report.backbones) > 1 else "")
                paint = partial(self._paint, title=title, painted=painted)
                yield make_drawing(paint, width=self.width, height=self.height, title=title)

    def _paint(self, figure: Figure, *, title: str, painted: Painted[Any]) -> str:
        return f"{title}: {self.paint(figure, painted)}"


def thinned(points: Sequence[T]) -> list[T]:
    """At most so many points, the first and the last among them."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    return [points[round(place)] for place in np.linspace(0, len(points) - 1, _MOST_POINTS)]
