"""Small multiples: a panel a task, one way of painting for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from dhrd.experiments.report.figures.arms import Arm
from dhrd.experiments.report.figures.svg import Drawing, make_drawing
from dhrd.experiments.report.schema import tasks

_MOST_POINTS = 240

Painted = list[tuple[Arm, dict[str, Any]]]
"""The arms of one task that have something to draw, each with its cell."""


def draw_panels(
    report: dict[str, Any],
    arms: dict[str, Arm],
    name: str,
    has: Callable[[dict[str, Any]], bool],
    paint: Callable[[Any, Painted], str],
    *,
    width: int = 300,
    height: int = 230,
) -> Iterator[Drawing]:
    """A drawing for each task where an arm `has` what is to be drawn; `paint` says what is seen in it."""
    for number, (backbone, task) in enumerate(tasks(report)):
        painted = [(arms[str(cell["arm"])], cell) for cell in task["arms"] if has(cell)]
        if painted:
            title = str(task["task"]) + (f" · {backbone['name']}" if len(report["backbones"]) > 1 else "")
            paint_titled = partial(_paint_titled, title=title, painted=painted, paint=paint)
            yield make_drawing(paint_titled, name=f"{name}-{number}", width=width, height=height, title=title)


def _paint_titled(figure: Any, *, title: str, painted: Painted, paint: Callable[[Any, Painted], str]) -> str:
    return f"{title}: {paint(figure, painted)}"


def thinned(found: Sequence[Any]) -> list[Any]:
    """At most so many points, the first and the last among them."""
    if len(found) <= _MOST_POINTS:
        return list(found)
    return [found[round(place)] for place in np.linspace(0, len(found) - 1, _MOST_POINTS)]
