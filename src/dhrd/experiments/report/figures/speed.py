"""Accuracy against queries per second, a panel a task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from dhrd.experiments.report.figures.arms import Arm
from dhrd.experiments.report.figures.panels import Painted, draw_panels
from dhrd.experiments.report.figures.svg import GROUND, Drawing, make_axes, name_axes, write_in_percent
from dhrd.experiments.report.numbers import is_number
from dhrd.experiments.report.schema import cells

_HEIGHT, _TOP, _BOTTOM = 270, 26, 42


def draw_speed(report: dict[str, Any], arms: dict[str, Arm]) -> Iterator[Drawing]:
    """All panels to one scale."""
    speeds = [cell["speed"] for _, _, cell in cells(report) if _has_speed(cell)]
    paint = partial(_paint, speeds=speeds)
    return draw_panels(report, arms, "speed", _has_speed, paint, width=440, height=_HEIGHT)


def _has_speed(cell: dict[str, Any]) -> bool:
    """Whether both numbers are there, and the rate has a logarithm."""
    speed = cell["speed"]
    is_known = speed and all(is_number(speed[key]) for key in ("queries_per_second", "accuracy"))
    return bool(is_known and speed["queries_per_second"] > 0)


def _paint(figure: Any, painted: Painted, *, speeds: Sequence[dict[str, Any]]) -> str:
    axes = make_axes(figure, left=48, right=12, top=_TOP, bottom=_BOTTOM)
    _scale(axes, [one["queries_per_second"] for one in speeds], [one["accuracy"] for one in speeds])
    for arm, cell in painted:
        _draw(axes, arm, cell["speed"])
    _label(axes, painted)
    axes.minorticks_off()
    axes.xaxis.get_major_locator().set_params(subs=(1, 3))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    write_in_percent(axes.yaxis)
    name_axes(axes, "queries per second (log scale)", "accuracy")
    said = "; ".join(f"{arm.title} {_seen(cell['speed'])}" for arm, cell in painted)
    return f"accuracy against queries per second. {said}."


def _scale(axes: Any, rates: Sequence[float], accuracies: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(rates) / 2.2, max(rates) * 2.2)
    middle = (min(accuracies) + max(accuracies)) / 2
    half = max(0.05, 0.65 * (max(accuracies) - min(accuracies)))
    axes.set_ylim(middle - half, middle + half)


def _cost(speed: dict[str, Any]) -> str:
    """What an answer costs in tokens, and how often it cannot be read."""
    tokens, unparsable = speed["mean_new_tokens"], speed["unparsable_share"]
    label = f"{tokens:.3g} tokens" if is_number(tokens) else "tokens unknown"
    return label + (f", {100 * unparsable:.0f} % unparsable" if is_number(unparsable) else "")


def _seen(speed: dict[str, Any]) -> str:
    at = f"{100 * speed['accuracy']:.1f} % at {speed['queries_per_second']:.3g} a second"
    return f"{at}, {_cost(speed)}"


def _draw(axes: Any, arm: Arm, speed: dict[str, Any]) -> None:
    """A marker on a bar from the slowest repetition to the fastest."""
    accuracy = [speed["accuracy"]]
    if is_number(speed["min"]) and is_number(speed["max"]):
        axes.plot([speed["min"], speed["max"]], accuracy * 2, color=arm.colour, linewidth=2, alpha=0.6)
    look = {"color": arm.colour, "marker": arm.marker, "markersize": 9, "zorder": 4}
    axes.plot([speed["queries_per_second"]], accuracy, markeredgecolor=GROUND, markeredgewidth=0.8, **look)


def _label(axes: Any, painted: Painted) -> None:
    """Labels beside their markers, on the side with room, moved apart where they would lie on each other."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    ordered = sorted((cell["speed"] for _, cell in painted), key=lambda speed: speed["accuracy"])
    gap = 15 * (high - low) / (_HEIGHT - _TOP - _BOTTOM)
    for side, shift in (("right", -11), ("left", 11)):
        group = [one for one in ordered if (one["queries_per_second"] > math.sqrt(left * right)) == (side == "right")]
        style = {"xytext": (shift, 0), "textcoords": "offset pixels", "ha": side, "va": "center", "fontsize": 11}
        for speed, place in zip(group, spread([one["accuracy"] for one in group], gap), strict=True):
            axes.annotate(_cost(speed), (speed["queries_per_second"], place), **style)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Rising places moved until each is a gap above the one before, about where they were on the whole."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + gap) if found else place)
    shift = sum(new - old for new, old in zip(found, places, strict=True)) / max(1, len(places))
    return [place - shift for place in found]
