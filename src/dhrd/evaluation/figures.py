"""A report's figures: inline SVG that takes its colours from the page around it.

Matplotlib (extra `report`) draws at 72 dots an inch, so a unit of a drawing is a CSS pixel, and in stand-in colours
that become CSS variables: one SVG serves light, dark and print.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from dhrd._extras import require

NAMES = ("differences", "radar", "reliability", "risk_coverage", "speed", "curves")
NUM_COLOURS = 8
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")

_INK, _SOFT, _LINE, _GROUND = "#010101", "#010102", "#010103", "#010104"
_VARIABLES = {_INK: "--ink", _SOFT: "--soft", _LINE: "--line", _GROUND: "--ground"}
_VARIABLES |= {f"#0a0b{index:02x}": f"--arm-{index}" for index in range(NUM_COLOURS)}
_DASHES = ("-", "-", (0, (5, 1.5)), (0, (7, 2, 1.5, 2)), (0, (1.5, 1.5)), "-", (0, (5, 1.5)), (0, (1.5, 1.5)))

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dhrd",
    "text.parse_math": False,  # a label with two dollar signs is not a formula
    "text.color": _INK,
    "font.size": 11,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _SOFT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _SOFT,
    "ytick.labelcolor": _SOFT,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 6,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}

_SPEED_HEIGHT, _CURVES_HEIGHT = 270, 300
_MOST_POINTS = 240
_SMOOTHED_SHARE = 30  # a curve is averaged over a thirtieth of its steps
_LONGEST_LABEL, _LONGEST_BESIDE = 34, 25  # letters; the latter where an interval shares the line on a phone


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What one way of training is called and how it is drawn, everywhere alike.

    Args:
        name: As the report's cells name it.
        title: As people read it.
        index: Its place among the arms; decides colour, marker and dashes.
    """

    name: str
    title: str
    index: int

    @property
    def style(self) -> int:
        """The number of its colour and marker."""
        return self.index % NUM_COLOURS

    @property
    def colour(self) -> str:
        """The stand-in that becomes the page's `--arm-N`."""
        return f"#0a0b{self.style:02x}"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure.

    Args:
        title: The caption above it; empty where the section's heading says it.
        svg: The element, whose `aria-label` says what is seen.
        width: Its natural width in pixels.
    """

    title: str
    svg: str
    width: int


def arms_of(report: dict[str, Any]) -> dict[str, Arm]:
    """Every arm of a report by name, in order of appearance.

    Args:
        report: As `report.complete` gives it.

    Returns:
        The arms; the first is usually the baseline.
    """
    titles: dict[str, str] = {}
    for _, _, arm in cells(report):
        titles.setdefault(str(arm["arm"]), str(arm["title"] or arm["arm"] or "–"))
    for _, task in tasks(report):
        for comparison in task["comparisons"]:
            for name in (comparison["baseline"], comparison["other"]):
                titles.setdefault(str(name), str(name or "–"))
    return {name: Arm(name=name, title=title, index=index) for index, (name, title) in enumerate(titles.items())}


def tasks(report: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each backbone with each of its tasks."""
    for backbone in report["backbones"]:
        for task in backbone["tasks"]:
            yield backbone, task


def cells(report: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Each backbone with each of its tasks and each of the task's arms."""
    for backbone, task in tasks(report):
        for arm in task["arms"]:
            yield backbone, task, arm


def is_number(value: Any) -> bool:
    """Whether there is a finite number, rather than nothing or NaN."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def is_interval(value: Any) -> bool:
    """Whether there are two finite ends."""
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(is_number(end) for end in value)


def excludes_zero(interval: Any) -> bool:
    """Whether an interval is there and lies on one side of zero."""
    return is_interval(interval) and (interval[0] > 0 or interval[1] < 0)


def points(value: Any) -> str:
    """A difference of two shares in percentage points, always with its sign."""
    if not is_number(value):
        return "–"
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def points_range(interval: Any) -> str:
    """An interval of a difference in percentage points."""
    return f"{points(interval[0])} to {points(interval[1])}" if is_interval(interval) else "–"


def draw(report: dict[str, Any]) -> dict[str, list[Drawing]]:
    """Every figure that a report has data for.

    Args:
        report: As `report.complete` gives it.

    Returns:
        Drawings by `NAMES`, none where there is nothing to draw; `differences` for a screen, then for a phone; all
        others for each task, but `radar` for each backbone.

    Raises:
        MissingExtra: Matplotlib is not installed.
    """
    require("matplotlib", extra="report")
    arms = arms_of(report)
    found = (
        _differences(report, arms),
        _radars(report, arms),
        _panels(report, arms, "reliability", _has("calibration", "reliability"), _reliability(report)),
        _panels(report, arms, "risk", _has("calibration", "risk_coverage"), _risk_coverage(report)),
        _panels(report, arms, "speed", _has_speed, _speed(report), width=440, height=_SPEED_HEIGHT),
        _panels(report, arms, "curves", _has("curve"), _curves, height=_CURVES_HEIGHT),
    )
    return {name: list(drawings) for name, drawings in zip(NAMES, found, strict=True)}


def _svg(paint: Callable[[Any], None], *, name: str, seen: str, width: int, height: int, title: str = "") -> Drawing:
    figure_class = require("matplotlib.figure", extra="report").Figure
    file = io.StringIO()
    with require("matplotlib.style", extra="report").context(_STYLE, after_reset=True):
        figure = figure_class(figsize=(width / 72, height / 72), dpi=72)
        paint(figure)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return Drawing(title=title, svg=_inline(file.getvalue(), name=name, seen=seen), width=width)


def _inline(svg: str, *, name: str, seen: str) -> str:
    """A file's SVG made an element of a page: the page's colours and font, ids of its own, no addresses."""
    svg = svg[svg.index("<svg") :]
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box is not None
    body = svg[svg.index(">") + 1 :].strip()
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href=", "href=")
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', body))
    kept = {one or other for one, other in used}
    body = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in kept else "", body)
    body = re.sub(r'href="#|url\(#', lambda m: m[0] + name + "-", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r"font: (?:(\d+) )?([\d.]+)px [^;\"]*", _font, body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"\n\s*", "\n", body)
    return f'<svg {view_box[0]} role="img" aria-label={quoteattr(seen)}>{body}'


def _font(found: re.Match[str]) -> str:
    """The size and weight alone; the family is the page's."""
    return f"font-size: {found[2]}px" + (f"; font-weight: {found[1]}" if found[1] else "")


def _axes(figure: Any, *, left: float, right: float, top: float, bottom: float, **more: Any) -> Any:
    """Axes with margins in pixels."""
    width, height = figure.get_size_inches() * 72
    place = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    return figure.add_axes(place, **more)


def _short(text: str, longest: int = _LONGEST_LABEL) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _percent_axis(axis: Any, most_ticks: int = 5) -> None:
    axis.get_major_locator().set_params(nbins=most_ticks)
    axis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def _name_axes(axes: Any, x: str, y: str) -> None:
    """Names lie flat: the y axis is named above it, where it is read first."""
    axes.set_xlabel(x, fontsize=11, loc="right", labelpad=2)
    axes.set_title(y, fontsize=11, loc="left", color=_SOFT, pad=6, x=-0.02)


# Differences


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A line of the dot plot: a heading, or a difference with what is known of it."""

    label: str
    kind: str  # heading, task or mean
    colour: str = _INK
    difference: float | None = None
    interval: Any = None
    seeds: Sequence[float] = ()

    @property
    def is_told(self) -> bool:
        return excludes_zero(self.interval)


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """The dot plot's measures in pixels."""

    name: str
    width: int
    row: int
    left: int
    right: int
    font: int
    labels_above: bool


_WIDE = _Layout(name="wide", width=940, row=28, left=300, right=190, font=13, labels_above=False)
_POINTS_END, _RANGE_START = 62, 78  # the columns right of the plot
_NARROW = _Layout(name="narrow", width=360, row=42, left=6, right=6, font=12, labels_above=True)


def _differences(report: dict[str, Any], arms: dict[str, Arm]) -> Iterator[Drawing]:
    rows = list(_rows(report, arms))
    if not any(row.kind != "heading" for row in rows):
        return
    # A letter of the widest common font takes 9 pixels at most on the whole; what labels do not need, the plot gets
    needed = 24 + 9 * max(len(_short(row.label)) for row in rows if row.kind != "heading")
    for layout in (replace(_WIDE, left=min(_WIDE.left, needed)), _NARROW):
        yield _svg(
            lambda figure, layout=layout: _dot_plot(figure, rows, layout),  # type: ignore[misc]
            name=f"differences-{layout.name}",
            seen=_differences_seen(rows),
            width=layout.width,
            height=layout.row * len(rows) + 62,
        )


def _rows(report: dict[str, Any], arms: dict[str, Arm]) -> Iterator[_Row]:
    """The mean first, as it is the answer; then each task, a row for each arm against its baseline."""
    pairs = {
        (comparison["baseline"], comparison["other"]) for _, task in tasks(report) for comparison in _first_metric(task)
    }
    yield from _means(report, arms, pairs)
    for backbone in report["backbones"]:
        found = [(task, _first_metric(task)) for task in backbone["tasks"]]
        if len(report["backbones"]) > 1 and any(comparisons for _, comparisons in found):
            yield _Row(label=str(backbone["name"]), kind="heading")
        for task, comparisons in found:
            if len(pairs) > 1 and comparisons:
                yield _Row(label=str(task["task"]), kind="heading")
            for comparison in comparisons:
                label = pair_title(comparison, arms, pairs) if len(pairs) > 1 else str(task["task"])
                yield _row(label, comparison, arms[str(comparison["other"])].colour)


def _first_metric(task: dict[str, Any]) -> list[dict[str, Any]]:
    """The comparisons by the task's first official metric."""
    first = task["metrics"][0] if task["metrics"] else None
    return [
        one for one in task["comparisons"] if is_number(one["difference"]) and first in (None, one["metric"] or first)
    ]


def pair_title(comparison: dict[str, Any], arms: dict[str, Arm], pairs: set[tuple[Any, Any]]) -> str:
    """Which arm is compared; with which, where there is more than one baseline."""
    other, baseline = arms[str(comparison["other"])].title, arms[str(comparison["baseline"])].title
    return other if len({one for one, _ in pairs}) == 1 else f"{other} − {baseline}"


def _row(label: str, found: dict[str, Any], colour: str, kind: str = "task") -> _Row:
    return _Row(
        label=label,
        kind=kind,
        colour=colour,
        difference=float(found["difference"]),
        interval=found["interval_95"] if is_interval(found["interval_95"]) else None,
        seeds=[float(one) for one in found["seed_differences"] if is_number(one)],
    )


def _means(report: dict[str, Any], arms: dict[str, Arm], pairs: set[tuple[Any, Any]]) -> Iterator[_Row]:
    """The primary comparison; without one, plain averages over tasks, which have no interval."""
    primary = report["primary"]
    if primary and is_number(primary["difference"]):
        colour = arms[str(next(iter(pairs))[1])].colour if len(pairs) == 1 else _INK
        label = f"mean of {primary['num_tasks']} tasks" if primary["num_tasks"] else "mean"
        yield _row(label, primary, colour, "mean")
        return
    for backbone in report["backbones"]:
        average, num_tasks = backbone["average"], len(backbone["tasks"])
        shown = [pair for pair in pairs if all(is_number(average.get(name)) for name in pair)] if num_tasks > 1 else []
        label = f"mean of {num_tasks} tasks" + (f", {backbone['name']}" if len(report["backbones"]) > 1 else "")
        if shown and len(pairs) > 1:
            yield _Row(label=label, kind="heading")
        for baseline, other in sorted(shown, key=lambda pair: [arms[str(name)].index for name in pair]):
            found = {"baseline": baseline, "other": other}
            yield _Row(
                label=pair_title(found, arms, pairs) if len(pairs) > 1 else label,
                kind="mean",
                colour=arms[str(other)].colour,
                difference=average[other] - average[baseline],
            )


def _differences_seen(rows: Sequence[_Row]) -> str:
    found = [row for row in rows if row.kind == "task"]
    above = sum(row.difference > 0 for row in found if row.difference is not None)
    told = sum(row.is_told for row in found)
    means = [
        f"{row.label}: {points(row.difference)} points"
        + (f", 95 % interval {points_range(row.interval)}" if row.interval else "")
        for row in rows
        if row.kind == "mean"
    ]
    counts = f"{above} of {len(found)} differences are above zero; the interval excludes zero in {told}"
    return "Dot plot of differences in percentage points. " + "; ".join([*means, counts]) + "."


def _dot_plot(figure: Any, rows: Sequence[_Row], layout: _Layout) -> None:
    axes = _axes(figure, left=layout.left, right=layout.right, top=26, bottom=36)
    _scale_differences(axes, rows)
    for place, row in enumerate(reversed(rows)):
        _write_row(axes, place, row, layout)
        if row.difference is not None:
            _draw_row(axes, place - (0.22 if layout.labels_above else 0), row)
    above = max((place for place, row in enumerate(rows, start=1) if row.kind == "mean"), default=0)
    if 0 < above < len(rows):
        axes.axhline(len(rows) - above - 0.5, color=_LINE, linewidth=1)
    if not layout.labels_above:
        plot = layout.width - layout.left - layout.right
        style = {"transform": axes.get_yaxis_transform(), "color": _SOFT, "va": "bottom", "fontsize": 11}
        axes.text(1 + _POINTS_END / plot, len(rows) - 0.3, "points", ha="right", **style)
        axes.text(1 + _RANGE_START / plot, len(rows) - 0.3, "95 % interval", ha="left", **style)


def _scale_differences(axes: Any, rows: Sequence[_Row]) -> None:
    values = [
        value for row in rows for value in (row.difference, *(row.interval or ()), *row.seeds) if value is not None
    ]
    low, high = 100 * min([0.0, *values]), 100 * max([0.0, *values])
    margin = 0.06 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=_INK, linewidth=1.1, zorder=1)
    axes.locator_params(axis="x", nbins=7)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}".replace("-", "−") if abs(value) > 1e-9 else "0")
    axes.set_xlabel("difference in percentage points", fontsize=11, labelpad=3)
    # Beside the zero line where there is room for the words
    for text, share, anchor, gap in (("← worse ", -low, "right", -4), (" better →", high, "left", 4)):
        if share > 0.16 * (high - low):
            axes.annotate(
                text,
                (0, 1),
                xycoords=axes.get_xaxis_transform(),
                xytext=(gap, 5),
                textcoords="offset pixels",
                ha=anchor,
                va="bottom",
                color=_SOFT,
                fontsize=11,
            )


def _write_row(axes: Any, place: int, row: _Row, layout: _Layout) -> None:
    plot = layout.width - layout.left - layout.right
    style = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": layout.font}
    if layout.labels_above:  # else the zero line would make a plus of a minus
        style["bbox"] = {"facecolor": _GROUND, "edgecolor": "none", "pad": 1}
    bold = {"fontweight": "normal" if row.kind == "task" else "bold"}
    line = place + ((-0.1 if row.kind == "heading" else 0.24) if layout.labels_above else 0)
    longest = _LONGEST_BESIDE if layout.labels_above and row.interval else _LONGEST_LABEL
    axes.text((2 - layout.left) / plot, line, _short(row.label, longest), ha="left", **bold, **style)
    if row.difference is None:
        return
    colour = row.colour if row.is_told else _INK
    if layout.labels_above:
        text = points(row.difference) + (f" ({points_range(row.interval)})" if row.interval else "")
        axes.text(1 + (layout.right - 2) / plot, line, text, ha="right", color=colour, **bold, **style)
    else:
        interval = points_range(row.interval) if row.interval else "none"
        axes.text(1 + _POINTS_END / plot, line, points(row.difference), ha="right", color=colour, **bold, **style)
        axes.text(1 + _RANGE_START / plot, line, interval, ha="left", color=_SOFT, **style)


def _draw_row(axes: Any, place: float, row: _Row) -> None:
    """Coloured and filled where the interval excludes zero, else hollow and grey; seeds lie faintly below."""
    assert row.difference is not None
    colour = row.colour if row.is_told else _SOFT
    axes.scatter(
        [100 * seed for seed in row.seeds], [place - 0.2] * len(row.seeds), s=14, color=_SOFT, alpha=0.45, linewidths=0
    )
    if row.interval:
        axes.plot([100 * end for end in row.interval], [place] * 2, color=colour, linewidth=2.4)
    axes.scatter(
        [100 * row.difference],
        [place],
        s=80 if row.kind == "mean" else 58,
        marker="D" if row.kind == "mean" else "o",
        facecolor=colour if row.is_told else _GROUND,
        edgecolor=colour,
        linewidths=1.8,
        zorder=4,
    )


# Radar


def _radars(report: dict[str, Any], arms: dict[str, Arm]) -> Iterator[Drawing]:
    for number, backbone in enumerate(report["backbones"]):
        shown = {
            str(task["task"]): {
                str(arm["arm"]): arm["mean"].get((task["metrics"] or [None])[0]) for arm in task["arms"]
            }
            for task in backbone["tasks"]
        }
        shown = {task: means for task, means in shown.items() if any(is_number(mean) for mean in means.values())}
        if len(shown) >= 3:
            yield _svg(
                lambda figure, shown=shown: _radar(figure, shown, arms),  # type: ignore[misc]
                name=f"radar-{number}",
                seen=f"Radar plot of {len(shown)} tasks' mean metric; the table above has its numbers.",
                width=460,
                height=400,
                title=str(backbone["name"]) if len(report["backbones"]) > 1 else "",
            )


def _radar(figure: Any, shown: dict[str, dict[str, Any]], arms: dict[str, Arm]) -> None:
    axes = _axes(figure, left=80, right=80, top=50, bottom=50, projection="polar")
    angles = list(np.linspace(0, 2 * np.pi, len(shown), endpoint=False))
    for arm in arms.values():
        values = [float(means[arm.name]) for means in shown.values() if is_number(means.get(arm.name))]
        if len(values) == len(shown):
            around, along = [*angles, angles[0]], [*values, values[0]]
            style = {"color": arm.colour, "linestyle": _DASHES[arm.style], "marker": MARKERS[arm.style]}
            axes.plot(around, along, markersize=5, **style)
            axes.fill(around, along, color=arm.colour, alpha=0.07)
    _radar_rings(axes, [value for means in shown.values() for value in means.values() if is_number(value)], len(shown))
    axes.set_xticks(angles, [])
    low, high = axes.get_ylim()
    for angle, task in zip(angles, shown, strict=True):
        across, upright = _anchors(angle)
        axes.text(angle, high + 0.07 * (high - low), _short(task, 16), ha=across, va=upright, fontsize=12)


def _anchors(angle: float) -> tuple[str, str]:
    """Which side of a label is toward the plot, clockwise from the top."""
    right, up = math.sin(angle), math.cos(angle)
    across = "left" if right > 0.2 else "right" if right < -0.2 else "center"
    return across, "bottom" if up > 0.9 else "top" if up < -0.9 else "center"


def _radar_rings(axes: Any, values: Sequence[float], num_spokes: int) -> None:
    low = max(0.0, math.floor(10 * min(values) - 1e-9) / 10 - 0.1)
    high = min(1.0, math.ceil(10 * max(values)) / 10)
    rings = np.arange(round(10 * low), round(10 * high) + 1, 1 if high - low < 0.45 else 2) / 10
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_ylim(low, high)
    axes.set_yticks(rings[1:], [])
    for ring in rings[1:]:
        axes.text(
            np.pi / num_spokes,
            ring,
            f"{100 * ring:.0f}",
            fontsize=10,
            color=_SOFT,
            ha="center",
            va="center",
            zorder=5,
            bbox={"facecolor": _GROUND, "edgecolor": "none", "pad": 1, "alpha": 0.75},
        )
    axes.spines["polar"].set_color(_LINE)


# Small multiples, a panel a task

_Painted = list[tuple[Arm, dict[str, Any]]]
"""The arms of one task that have something to draw, each with its cell."""


def _has(*keys: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a cell has something under these keys, one within the other."""

    def has(cell: dict[str, Any]) -> bool:
        found: Any = cell
        for key in keys:
            found = found.get(key) if found else None
        return bool(found)

    return has


def _has_speed(cell: dict[str, Any]) -> bool:
    speed = cell["speed"]
    return bool(
        speed
        and is_number(speed["queries_per_second"])
        and speed["queries_per_second"] > 0
        and is_number(speed["accuracy"])
    )


def _panels(
    report: dict[str, Any],
    arms: dict[str, Arm],
    name: str,
    has: Callable[[dict[str, Any]], bool],
    paint: Callable[[Any, _Painted], str],
    *,
    width: int = 300,
    height: int = 230,
) -> Iterator[Drawing]:
    """A drawing for each task where an arm has what is to be drawn; `paint` says what is seen in it."""
    for number, (backbone, task) in enumerate(tasks(report)):
        painted = [(arms[str(cell["arm"])], cell) for cell in task["arms"] if has(cell)]
        if painted:
            title = str(task["task"]) + (f" · {backbone['name']}" if len(report["backbones"]) > 1 else "")
            seen: list[str] = []
            drawing = _svg(
                lambda figure, painted=painted, seen=seen: seen.append(paint(figure, painted)),  # type: ignore[misc]
                name=f"{name}-{number}",
                seen="",
                width=width,
                height=height,
                title=title,
            )
            label = quoteattr(f"{title}: {seen[0]}")
            svg = drawing.svg.replace('aria-label=""', f"aria-label={label}", 1)
            yield Drawing(title=drawing.title, svg=svg, width=width)


def _reliability(report: dict[str, Any]) -> Callable[[Any, _Painted], str]:
    """All panels to one scale."""
    calibrations = [cell["calibration"] for _, _, cell in cells(report) if cell["calibration"]]
    bins = [one for calibration in calibrations for one in _filled_bins(calibration)]
    left = min((one["low"] for one in bins), default=0.0)
    lowest = max(0.0, math.floor(10 * min([left, *(one["accuracy"] for one in bins)])) / 10)

    def paint(figure: Any, painted: _Painted) -> str:
        axes = _axes(figure, left=48, right=24, top=26, bottom=42)
        axes.plot([left, 1], [left, 1], color=_SOFT, linewidth=1, linestyle=(0, (3, 3)))
        most = max((one["count"] for _, cell in painted for one in _filled_bins(cell["calibration"])), default=1)
        for arm, cell in painted:
            _draw_bins(axes, arm, _filled_bins(cell["calibration"]), most)
        axes.set_xlim(left, 1)
        axes.set_ylim(lowest, 1)
        for axis in (axes.xaxis, axes.yaxis):
            _percent_axis(axis)
        _name_axes(axes, "confidence", "accuracy")
        known = [(arm.title, cell["calibration"]["ece"]) for arm, cell in painted]
        said = ", ".join(f"{title} {error:.3f}" for title, error in known if is_number(error))
        return f"accuracy by confidence; on the diagonal the two agree. Calibration error: {said or 'not given'}."

    return paint


def _filled_bins(calibration: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        one
        for one in calibration["reliability"]
        if one["count"] and all(is_number(one[key]) for key in ("confidence", "accuracy"))
    ]


def _draw_bins(axes: Any, arm: Arm, bins: Sequence[dict[str, Any]], most: int) -> None:
    """A marker's area grows with its rows."""
    across, up = [one["confidence"] for one in bins], [one["accuracy"] for one in bins]
    axes.plot(across, up, color=arm.colour, linewidth=1, alpha=0.6, linestyle=_DASHES[arm.style])
    axes.scatter(
        across,
        up,
        s=[10 + 130 * one["count"] / most for one in bins],
        color=arm.colour,
        marker=MARKERS[arm.style],
        alpha=0.8,
        linewidths=0.8,
        edgecolor=_GROUND,
        zorder=3,
        clip_on=False,
    )


def _risk_coverage(report: dict[str, Any]) -> Callable[[Any, _Painted], str]:
    """All panels to one scale, so that tasks can be compared."""
    risks = [
        one["risk"]
        for _, _, cell in cells(report)
        if _has("calibration", "risk_coverage")(cell)
        for one in cell["calibration"]["risk_coverage"]
    ]
    highest = 1.08 * max([0.05, *(risk for risk in risks if is_number(risk))])

    def paint(figure: Any, painted: _Painted) -> str:
        axes = _axes(figure, left=48, right=24, top=26, bottom=42)
        for arm, cell in painted:
            found = _thinned([one for one in cell["calibration"]["risk_coverage"] if is_number(one["risk"])])
            across, up = [one["coverage"] for one in found], [one["risk"] for one in found]
            axes.plot(across, up, color=arm.colour, linestyle=_DASHES[arm.style])
            axes.plot(across[-1:], up[-1:], color=arm.colour, marker=MARKERS[arm.style], markersize=6, clip_on=False)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, highest)
        for axis in (axes.xaxis, axes.yaxis):
            _percent_axis(axis)
        _name_axes(axes, "rows answered", "errors among them")
        areas = [(arm.title, cell["calibration"]["aurc"]) for arm, cell in painted]
        said = ", ".join(f"{title} {area:.3f}" for title, area in areas if is_number(area))
        return (
            f"errors among the most confident rows as more are answered. Area under the curve: {said or 'not given'}."
        )

    return paint


def _thinned(found: Sequence[Any]) -> list[Any]:
    """At most so many points, the first and the last among them."""
    if len(found) <= _MOST_POINTS:
        return list(found)
    return [found[round(place)] for place in np.linspace(0, len(found) - 1, _MOST_POINTS)]


def _speed(report: dict[str, Any]) -> Callable[[Any, _Painted], str]:
    """All panels to one scale."""
    speeds = [cell["speed"] for _, _, cell in cells(report) if _has_speed(cell)]
    rates = [one["queries_per_second"] for one in speeds]
    accuracies = [one["accuracy"] for one in speeds]

    def paint(figure: Any, painted: _Painted) -> str:
        axes = _axes(figure, left=48, right=12, top=26, bottom=42)
        axes.set_xscale("log")
        axes.set_xlim(min(rates) / 2.2, max(rates) * 2.2)
        middle = (min(accuracies) + max(accuracies)) / 2
        half = max(0.05, 0.65 * (max(accuracies) - min(accuracies)))
        axes.set_ylim(middle - half, middle + half)
        for arm, cell in painted:
            _draw_speed(axes, arm, cell["speed"])
        _label_speeds(axes, painted, height=_SPEED_HEIGHT - 26 - 42)
        axes.minorticks_off()
        axes.xaxis.get_major_locator().set_params(subs=(1, 3))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _percent_axis(axes.yaxis)
        _name_axes(axes, "queries per second (log scale)", "accuracy")
        said = "; ".join(f"{arm.title} {_speed_seen(cell['speed'])}" for arm, cell in painted)
        return f"accuracy against queries per second. {said}."

    return paint


def _speed_label(speed: dict[str, Any]) -> str:
    """What an answer costs in tokens, and how often it cannot be read."""
    tokens, unparsable = speed["mean_new_tokens"], speed["unparsable_share"]
    label = f"{tokens:.3g} tokens" if is_number(tokens) else "tokens unknown"
    return label + (f", {100 * unparsable:.0f} % unparsable" if is_number(unparsable) else "")


def _speed_seen(speed: dict[str, Any]) -> str:
    at = f"{100 * speed['accuracy']:.1f} % at {speed['queries_per_second']:.3g} a second"
    return f"{at}, {_speed_label(speed)}"


def _draw_speed(axes: Any, arm: Arm, speed: dict[str, Any]) -> None:
    if is_number(speed["min"]) and is_number(speed["max"]):
        axes.plot([speed["min"], speed["max"]], [speed["accuracy"]] * 2, color=arm.colour, linewidth=2, alpha=0.6)
    axes.plot(
        [speed["queries_per_second"]],
        [speed["accuracy"]],
        color=arm.colour,
        marker=MARKERS[arm.style],
        markersize=9,
        markeredgecolor=_GROUND,
        markeredgewidth=0.8,
        zorder=4,
    )


def _label_speeds(axes: Any, painted: _Painted, *, height: float) -> None:
    """Labels beside their markers, on the side with room, moved apart where they would lie on each other."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    ordered = sorted((cell["speed"] for _, cell in painted), key=lambda speed: speed["accuracy"])
    gap = 15 * (high - low) / height
    for side in ("right", "left"):
        group = [one for one in ordered if (one["queries_per_second"] > math.sqrt(left * right)) == (side == "right")]
        places = _spread([one["accuracy"] for one in group], gap)
        for speed, place in zip(group, places, strict=True):
            axes.annotate(
                _speed_label(speed),
                (speed["queries_per_second"], place),
                xytext=(-11 if side == "right" else 11, 0),
                textcoords="offset pixels",
                ha=side,
                va="center",
                fontsize=11,
            )


def _spread(places: Sequence[float], gap: float) -> list[float]:
    """Rising places moved until each is a gap above the one before, about where they were on the whole."""
    spread: list[float] = []
    for place in places:
        spread.append(max(place, spread[-1] + gap) if spread else place)
    shift = sum(new - old for new, old in zip(spread, places, strict=True)) / max(1, len(places))
    return [place - shift for place in spread]


_LOSSES = (("classification_loss", "label loss"), ("lm_loss", "reasoning loss"))


def _curves(figure: Any, painted: _Painted) -> str:
    """The label loss above the reasoning loss, over the same steps."""
    found = [
        (name, [(arm, _curve(cell["curve"], key)) for arm, cell in painted if len(_curve(cell["curve"], key)[0])])
        for key, name in _LOSSES
    ]
    found = [(name, lines) for name, lines in found if lines]
    room = (_CURVES_HEIGHT - 40) / max(1, len(found))
    last = []
    for number, (name, lines) in enumerate(found):
        below = 40 + (len(found) - 1 - number) * room
        axes = _axes(figure, left=40, right=16, top=24 + number * room, bottom=below)
        for arm, (steps, losses) in lines:
            axes.plot(steps, losses, color=arm.colour, linestyle=_DASHES[arm.style], linewidth=1.6)
            last.append(f"{arm.title} {name} {losses[-1]:.3g}")
        axes.set_ylim(bottom=0 if min(losses.min() for _, (_, losses) in lines) < 0.7 else None)
        axes.set_xlim(0, None)
        axes.locator_params(nbins=4)
        is_lowest = number == len(found) - 1
        axes.tick_params(axis="x", labelbottom=is_lowest)
        _name_axes(axes, "step" if is_lowest else "", name)
    return "training losses by step, smoothed. At the end: " + ("; ".join(last) or "nothing was logged") + "."


def _curve(curve: Sequence[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
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
    kept = np.array(_thinned(range(len(smooth))))
    return steps[kept], smooth[kept]
