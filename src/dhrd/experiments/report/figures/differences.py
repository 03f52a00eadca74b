"""The dot plot of differences to a baseline: a row a task, the mean above them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from dhrd.experiments.report.figures.drawing import (
    GROUND,
    INK,
    LINE,
    SOFT,
    Drawing,
    make_axes,
    make_drawing,
    shortened,
)
from dhrd.experiments.report.figures.looks import Looks, Style
from dhrd.experiments.report.numbers import points, points_range
from dhrd.experiments.report.schema import BackboneResult, Comparison, Report, TaskResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_COMPARISONS = 60  # of more, only those over all tasks are drawn
_WIDTHS = (760, 360)  # pixels, of a screen and of a phone
_ROW = 42  # pixels, of a row: the label and the numbers stand above the dot


_NOTHING = Comparison()


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A line of the dot plot: a heading, or a difference with what is known of it."""

    label: str
    kind: str  # heading, task or mean
    colour: str = INK
    comparison: Comparison = _NOTHING

    @property
    def difference(self) -> float | None:
        return self.comparison.difference

    @property
    def interval(self) -> str:
        """In points; empty where there is none."""
        return points_range(self.comparison.interval_95) if self.comparison.interval_95 else ""

    @property
    def seeds(self) -> list[float]:
        return [value for value in self.comparison.seed_differences or () if value is not None]


def draw_differences(report: Report, looks: Looks) -> Iterator[Drawing]:
    """The same rows for a screen, then for a phone."""
    rows = list(_Rows(report, looks).all())
    if all(row.kind == "heading" for row in rows):
        return
    for width in _WIDTHS:
        yield make_drawing(partial(_paint, rows=rows, width=width), width=width, height=_ROW * len(rows) + 62)


# What the rows say


class _Rows:
    """The rows of a report: which comparisons are shown, and what they are called."""

    def __init__(self, report: Report, looks: Looks) -> None:
        self.report, self.looks = report, looks
        self.compared = [comparison for _, task in report.tasks() for comparison in _comparisons(task)]
        self.pairs = {(comparison.baseline, comparison.other) for comparison in self.compared}

    def all(self) -> Iterator[_Row]:
        """The mean first, as it is the answer; then each task, a row for each arm against its baseline."""
        if len(self.compared) > _MOST_COMPARISONS:
            over_tasks = [comparison for backbone in self.report.backbones for comparison in backbone.over_tasks]
            yield from (
                self._row(self._title(comparison), comparison)
                for comparison in over_tasks
                if comparison.difference is not None
            )
            return
        yield from self._means()
        for backbone in self.report.backbones:
            tasks = [(task, comparisons) for task in backbone.tasks if (comparisons := _comparisons(task))]
            if len(self.report.backbones) > 1 and tasks:
                yield _Row(label=str(backbone.name), kind="heading")
            for task, comparisons in tasks:
                if len(self.pairs) > 1:
                    yield _Row(label=str(task.task), kind="heading")
                for comparison in comparisons:
                    yield self._row(self._title(comparison) if len(self.pairs) > 1 else str(task.task), comparison)

    def _means(self) -> Iterator[_Row]:
        """The primary comparison; without one, plain averages over tasks, which have no interval."""
        primary = self.report.primary
        if primary and primary.difference is not None:
            label = f"mean of {primary.num_tasks} tasks" if primary.num_tasks else "mean"
            colour = self.looks[next(iter(self.pairs))[1]].look.colour if len(self.pairs) == 1 else INK
            yield _Row(label=label, kind="mean", colour=colour, comparison=primary)
            return
        for backbone in self.report.backbones:
            yield from self._averages(backbone)

    def _averages(self, backbone: BackboneResult) -> Iterator[_Row]:
        average, num_tasks = backbone.average, len(backbone.average_over or backbone.tasks)
        label = f"mean of {num_tasks} tasks" + (f", {backbone.name}" if len(self.report.backbones) > 1 else "")
        rows = []
        for baseline, other in sorted(self.pairs, key=lambda pair: [self.looks[name].index for name in pair]):
            first, second = average.get(baseline), average.get(other)
            if num_tasks > 1 and first is not None and second is not None:
                mean = Comparison(baseline=baseline, other=other, difference=second - first)
                rows.append(self._row(self._title(mean) if len(self.pairs) > 1 else label, mean, "mean"))
        if rows and len(self.pairs) > 1:
            yield _Row(label=label, kind="heading")
        yield from rows

    def _row(self, label: str, comparison: Comparison, kind: str = "task") -> _Row:
        return _Row(label=label, kind=kind, colour=self.looks[comparison.other].look.colour, comparison=comparison)

    def _title(self, comparison: Comparison) -> str:
        """Which arm is compared; with which, where there is more than one baseline."""
        other, baseline = self.looks[comparison.other].title, self.looks[comparison.baseline].title
        return other if len({name for name, _ in self.pairs}) == 1 else f"{other} − {baseline}"


def _comparisons(task: TaskResult) -> list[Comparison]:
    """Those by the task's first official metric."""
    shown = [comparison for comparison in task.comparisons if task.compares_in(comparison, task.first_metric)]
    return [comparison for comparison in shown if comparison.difference is not None]


def _seen(rows: Sequence[_Row]) -> str:
    tasks = [row for row in rows if row.kind == "task"]
    above = sum(row.difference > 0 for row in tasks if row.difference is not None)
    told = sum(row.comparison.is_told for row in tasks)
    means = [
        f"{row.label}: {points(row.difference)} points" + (f", 95 % interval {row.interval}" if row.interval else "")
        for row in rows
        if row.kind == "mean"
    ]
    counts = f"{above} of {len(tasks)} differences are above zero; the interval excludes zero in {told}"
    return "Dot plot of differences in percentage points. " + "; ".join([*means, counts]) + "."


# How they are drawn


def _paint(figure: Figure, *, rows: Sequence[_Row], width: int) -> str:
    axes = make_axes(figure, left=6, right=6, top=26, bottom=36)
    _scale(axes, rows)
    for place, row in enumerate(reversed(rows)):
        _write_row(axes, place, row, width)
        if row.difference is not None:
            _draw_row(axes, place - 0.22, row)
    above = max((place for place, row in enumerate(rows, start=1) if row.kind == "mean"), default=0)
    if 0 < above < len(rows):
        axes.axhline(len(rows) - above - 0.5, color=LINE, linewidth=1)
    return _seen(rows)


def _scale(axes: Axes, rows: Sequence[_Row]) -> None:
    shown = [value for row in rows for value in (row.difference, *(row.comparison.interval_95 or ()), *row.seeds)]
    values = [value for value in shown if value is not None]
    low, high = 100 * min([0.0, *values]), 100 * max([0.0, *values])
    margin = 0.06 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=INK, linewidth=1.1, zorder=1)
    axes.locator_params(axis="x", nbins=7)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}".replace("-", "−") if abs(value) > 1e-9 else "0")
    axes.set_xlabel("difference in percentage points", fontsize=11, labelpad=3)
    _name_sides(axes, low, high)


def _name_sides(axes: Axes, low: float, high: float) -> None:
    """Beside the zero line, where there is room for the words."""
    style: Style = {
        "xycoords": axes.get_xaxis_transform(),
        "textcoords": "offset pixels",
        "color": SOFT,
        "fontsize": 11,
    }
    for text, share, anchor, gap in (("← worse ", -low, "right", -4), (" better →", high, "left", 4)):
        if share > 0.16 * (high - low):
            axes.annotate(text, (0, 1), xytext=(gap, 5), ha=anchor, va="bottom", **style)


def _write_row(axes: Axes, place: int, row: _Row, width: int) -> None:
    """The label at the left edge, the numbers at the right one."""
    beside = 4 / width
    num_letters = (width - (185 if row.interval else 110)) // 7  # what the numbers leave, 7 pixels a letter
    style: Style = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 12}
    style |= {"bbox": {"facecolor": GROUND, "edgecolor": "none", "pad": 1}}  # else zero's line makes a plus of a minus
    style |= {"fontweight": "normal" if row.kind == "task" else "bold"}
    line = place + (-0.1 if row.kind == "heading" else 0.24)
    axes.text(-beside, line, shortened(row.label, num_letters), ha="left", **style)
    if row.difference is not None:
        text = points(row.difference) + (f" ({row.interval})" if row.interval else "")
        axes.text(1 + beside, line, text, ha="right", color=row.colour if row.comparison.is_told else INK, **style)


def _draw_row(axes: Axes, place: float, row: _Row) -> None:
    """Coloured and filled where the interval excludes zero, else hollow and grey; seeds lie faintly below."""
    assert row.difference is not None
    is_told = row.comparison.is_told
    colour = row.colour if is_told else SOFT
    seeds = [100 * seed for seed in row.seeds]
    axes.scatter(seeds, [place - 0.2] * len(seeds), s=14, color=SOFT, alpha=0.45, linewidths=0)
    if row.comparison.interval_95:
        axes.plot([100 * end for end in row.comparison.interval_95], [place] * 2, color=colour, linewidth=2.4)
    size, marker = (80, "D") if row.kind == "mean" else (58, "o")
    fill: Style = {"facecolor": colour if is_told else GROUND, "edgecolor": colour, "linewidths": 1.8}
    axes.scatter([100 * row.difference], [place], s=size, marker=marker, zorder=4, **fill)
