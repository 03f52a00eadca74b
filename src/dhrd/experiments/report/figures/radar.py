"""The paper's form: a radar plot of each task's mean metric, a spoke a task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from dhrd.experiments.report.figures.arms import Arm
from dhrd.experiments.report.figures.svg import GROUND, LINE, SOFT, Drawing, make_axes, make_drawing, shortened
from dhrd.experiments.report.numbers import is_number
from dhrd.experiments.report.schema import first_metric

_LONGEST_TASK = 16  # letters

_Means = dict[str, dict[str, Any]]
"""Task -> arm -> the mean of the task's first metric."""


def draw_radars(report: dict[str, Any], arms: dict[str, Arm]) -> Iterator[Drawing]:
    """A radar plot for each backbone that has three tasks or more."""
    for number, backbone in enumerate(report["backbones"]):
        means = _means(backbone)
        if len(means) >= 3:
            yield make_drawing(
                partial(_radar, means=means, arms=arms),
                name=f"radar-{number}",
                width=460,
                height=400,
                title=str(backbone["name"]) if len(report["backbones"]) > 1 else "",
            )


def _means(backbone: dict[str, Any]) -> _Means:
    """Of the tasks where any arm has one."""
    found = {
        str(task["task"]): {str(arm["arm"]): arm["mean"].get(first_metric(task)) for arm in task["arms"]}
        for task in backbone["tasks"]
    }
    return {task: means for task, means in found.items() if any(is_number(mean) for mean in means.values())}


def _radar(figure: Any, *, means: _Means, arms: dict[str, Arm]) -> str:
    axes = make_axes(figure, left=80, right=80, top=50, bottom=50, projection="polar")
    angles = list(np.linspace(0, 2 * np.pi, len(means), endpoint=False))
    for arm in arms.values():
        values = [float(found[arm.name]) for found in means.values() if is_number(found.get(arm.name))]
        if len(values) == len(means):
            _draw_arm(axes, arm, [*angles, angles[0]], [*values, values[0]])
    _draw_rings(axes, [value for found in means.values() for value in found.values() if is_number(value)], len(means))
    axes.set_xticks(angles, [])
    low, high = axes.get_ylim()
    for angle, task in zip(angles, means, strict=True):
        across, upright = _anchors(angle)
        name = shortened(task, _LONGEST_TASK)
        axes.text(angle, high + 0.07 * (high - low), name, ha=across, va=upright, fontsize=12)
    return f"Radar plot of {len(means)} tasks' mean metric; the table above has its numbers."


def _draw_arm(axes: Any, arm: Arm, around: Sequence[float], along: Sequence[float]) -> None:
    axes.plot(around, along, markersize=5, color=arm.colour, linestyle=arm.dashes, marker=arm.marker)
    axes.fill(around, along, color=arm.colour, alpha=0.07)


def _anchors(angle: float) -> tuple[str, str]:
    """Which side of a label is toward the plot, clockwise from the top."""
    right, up = math.sin(angle), math.cos(angle)
    across = "left" if right > 0.2 else "right" if right < -0.2 else "center"
    return across, "bottom" if up > 0.9 else "top" if up < -0.9 else "center"


def _draw_rings(axes: Any, values: Sequence[float], num_spokes: int) -> None:
    """Rings in whole tens of percent about the values; the innermost is not 0."""
    low = max(0.0, math.floor(10 * min(values) - 1e-9) / 10 - 0.1)
    high = min(1.0, math.ceil(10 * max(values)) / 10)
    rings = np.arange(round(10 * low), round(10 * high) + 1, 1 if high - low < 0.45 else 2) / 10
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_ylim(low, high)
    axes.set_yticks(rings[1:], [])
    style = {"fontsize": 10, "color": SOFT, "ha": "center", "va": "center", "zorder": 5}
    box = {"facecolor": GROUND, "edgecolor": "none", "pad": 1, "alpha": 0.75}
    for ring in rings[1:]:
        axes.text(np.pi / num_spokes, ring, f"{100 * ring:.0f}", bbox=box, **style)
    axes.spines["polar"].set_color(LINE)
