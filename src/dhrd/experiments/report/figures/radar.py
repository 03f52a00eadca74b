"""The paper's Figure 1: each arm's mean over the tasks as a polygon."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dhrd.experiments.report.figures.drawing import Drawing, make_axes, make_drawing, shortened
from dhrd.experiments.report.figures.looks import Looks
from dhrd.experiments.report.schema import BackboneResult, Number, Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_radars(report: Report, looks: Looks) -> Iterator[Drawing]:
    """A radar plot for each backbone that has three tasks or more."""
    for backbone in report.backbones:
        means = _means(backbone)
        if len(means) >= 3:
            title = str(backbone.name) if len(report.backbones) > 1 else ""
            yield make_drawing(partial(_paint, means=means, looks=looks), width=460, height=400, title=title)


def _means(backbone: BackboneResult) -> dict[str, dict[str, Number]]:
    """Task -> arm -> the mean of the first metric, of the tasks where any arm has one."""
    means = {str(task.task): {arm.arm: arm.mean.get(task.first_metric or "") for arm in task.arms}
             for task in backbone.tasks}  # fmt: skip
    return {task: arms for task, arms in means.items() if set(arms.values()) - {None}}


def _paint(figure: Figure, *, means: dict[str, dict[str, Number]], looks: Looks) -> str:
    axes = make_axes(figure, left=80, right=80, top=50, bottom=50, projection="polar")
    axes.set(theta_offset=np.pi / 2, theta_direction=-1)
    angles = np.linspace(0, 2 * np.pi, len(means), endpoint=False)
    for arm in looks.values():
        values = [arms.get(arm.name) for arms in means.values()]
        if None not in values:
            axes.fill(
                angles, values, facecolor="none", edgecolor=arm.look.colour, linestyle=arm.look.dashes, linewidth=1.8
            )
            axes.fill(angles, values, color=arm.look.colour, alpha=0.07)
    axes.set_xticks(angles, [shortened(task, 16) for task in means])
    known = [value for arms in means.values() for value in arms.values() if value is not None]
    axes.set_ylim(max(0.0, np.floor(10 * min(known)) / 10 - 0.1), min(1.0, np.ceil(10 * max(known)) / 10))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}")
    return f"Radar plot of {len(means)} tasks' mean metric; the table above has its numbers."
