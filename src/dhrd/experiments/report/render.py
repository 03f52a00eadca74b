"""A study's report: JSON for scripts, Markdown for a README, and a page to look at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from dhrd._files import saving, writing
from dhrd._markdown import as_markdown, fenced
from dhrd.errors import MissingExtra
from dhrd.experiments.report import figures
from dhrd.experiments.report.numbers import FILTERS, NOTHING
from dhrd.experiments.report.schema import (
    ArmResult,
    BackboneResult,
    Comparison,
    Number,
    Report,
    TaskResult,
    TriedSettings,
)
from dhrd.metrics.metrics import higher_is_better

NAMES = ("report.json", "report.md", "report.html", "accuracy_by_rows.svg")
"""The files of a report."""

PAPER_SPEEDUP = "96 to 142 ×"
"""Queries per second against chain of thought: the paper's Table 5."""


def write_report(report: Report, directory: Path) -> list[Path]:
    """Write a report in its forms.

    Args:
        report: Anything of it may be missing.
        directory: Made if it is not there.

    Returns:
        The paths of `report.json` (the report as given), `report.md`, `report.html` and, where the study varies the
        number of training rows, `accuracy_by_rows.svg`.

    Raises:
        SaveError: A file could not be written.
    """
    as_made, report = report.to_json(), report.without_controls()
    drawings, missing = _draw(report)
    texts = {
        "report.json": json.dumps(as_made, indent=2, ensure_ascii=False) + "\n",
        "report.md": markdown(report),
        "report.html": _page(report, drawings, missing),
    }
    if drawings["by_rows"]:
        texts["accuracy_by_rows.svg"] = drawings["by_rows"][0].svg
    with saving(str(directory)):
        directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with writing(directory / name) as file:
            file.write(text)
    return [directory / name for name in texts]


def html(report: Report) -> str:
    """The page: it loads nothing, for light, dark, phone and print; without figures where matplotlib is missing."""
    report = report.without_controls()
    return _page(report, *_draw(report))


def _draw(report: Report) -> tuple[figures.Drawings, str | None]:
    """The figures, or why there are none."""
    try:
        return figures.draw(report), None
    except MissingExtra as error:
        return {name: [] for name in figures.NAMES}, f"Figures are left out: {error}"


def _page(report: Report, drawings: figures.Drawings, missing: str | None) -> str:
    return _template("html").render(
        _shown(report), drawings=drawings, missing=missing, looks=figures.LOOKS, dark=figures.DARK
    )


def markdown(report: Report) -> str:
    """The same numbers as compact tables, fit for a README: GitHub-flavoured Markdown without images."""
    return re.sub(r"\n{3,}", "\n\n", _template("md").render(_shown(report.without_controls()))).strip() + "\n"


@cache
def _template(kind: str) -> jinja2.Template:
    """The template of one form, `html` or `md`; both escape whatever is not marked as safe."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=kind == "html",
        finalize=_dashed if kind == "html" else _plain,
    )
    environment.filters |= {**FILTERS, "fenced": _fenced}
    source = resources.files("dhrd.experiments.report").joinpath(f"report.{kind}.jinja").read_text(encoding="utf-8")
    return environment.from_string(source)


# What the tables show


def _shown(report: Report) -> dict[str, Any]:
    """What both templates are given."""
    cells = list(report.cells())
    compared = [comparison for _, task in report.tasks() for comparison in task.comparisons]
    return {
        "report": report,
        "primary": report.primary,
        "arms": figures.looks_of(report),
        "several": len(report.backbones) > 1,
        "several_baselines": len({comparison.baseline for comparison in compared}) > 1,
        "has_comparisons": bool(compared),
        "methods": _each_once(comparison.interval_method for comparison in (*compared, report.primary) if comparison),
        "mean_methods": _each_once(arm.interval_method for _, _, arm in cells),
        "is_selected": any(arm.selected_on for _, _, arm in cells),
        "has_averages": any(_averages(backbone) for backbone in report.backbones),
        "calibrated": [cell for cell in cells if cell[2].calibration],
        "timed": [(*cell, _times_the_slowest(cell[1], cell[2])) for cell in cells if cell[2].speed],
        "trained": [cell for cell in cells if cell[2].seconds is not None or cell[2].train_tokens is not None],
        "choices": list(_choices(report)),
        "paper_speedup": PAPER_SPEEDUP,
        **{function.__name__.lstrip("_"): function for function in (_rows, _facts, _tone, _seeds, _averages, _decoded)},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A line of a task's table: an arm in one metric, compared with one baseline.

    Args:
        cell: The arm's numbers.
        metric: Its name.
        comparison: None where the arm is compared with none.
        is_first: Whether the arm's own numbers stand in this line.
        is_baseline: Whether others are compared with it, and it with none.
        is_main: Whether the metric is the task's first.
    """

    cell: ArmResult
    metric: str
    comparison: Comparison | None
    is_first: bool
    is_baseline: bool
    is_main: bool

    @property
    def seeds(self) -> dict[int | None, Number]:
        """The metric by seed."""
        return {result.seed: result.values.get(self.metric) for result in self.cell.seeds}


def _rows(task: TaskResult) -> Iterator[_Row]:
    """A row for each metric and arm, and one more for each further baseline that the arm is compared with."""
    metrics = task.metrics or list(dict.fromkeys(name for cell in task.arms for name in cell.mean))
    baselines = {comparison.baseline for comparison in task.comparisons}
    for metric in metrics:
        for cell in task.arms:
            compared = [
                comparison
                for comparison in task.comparisons
                if comparison.other == cell.arm and task.compares_in(comparison, metric)
            ]
            for number, comparison in enumerate(compared or [None]):
                yield _Row(
                    cell=cell,
                    metric=metric,
                    comparison=comparison,
                    is_first=number == 0,
                    is_baseline=comparison is None and cell.arm in baselines,
                    is_main=metric == metrics[0],
                )


def _facts(task: TaskResult) -> Iterator[str]:
    """What is known of a task's rows."""
    if task.num_validation is not None:
        yield f"{task.num_validation:,} validation rows"
    if task.num_train is not None:
        reasoned = task.num_with_rationale
        with_rationale = "" if reasoned is None else f", {reasoned:,} with a rationale"
        yield f"{task.num_train:,} training rows{with_rationale}"
    if task.majority_share is not None:
        yield f"commonest label {100 * task.majority_share:.1f} %"


def _tone(comparison: Comparison | None, metric: str = "average") -> str:
    """`better` or `worse` where the interval excludes zero, else nothing."""
    if comparison is None or comparison.interval_95 is None or not comparison.is_told:
        return ""
    return "better" if (comparison.interval_95[0] > 0) == higher_is_better(metric) else "worse"


def _seeds(backbone: BackboneResult) -> list[int]:
    """The seeds that any of a backbone's cells has, in order."""
    seeds = (result.seed for task in backbone.tasks for cell in task.arms for result in cell.seeds)
    return sorted({seed for seed in seeds if seed is not None})


def _averages(backbone: BackboneResult) -> list[tuple[str, Number, Number]]:
    """Each arm that has an average or a gain, with both."""
    average, gain = backbone.average, backbone.relative_gain_percent
    arms = dict.fromkeys(cell.arm for task in backbone.tasks for cell in task.arms)
    rows = [(arm, average.get(arm), gain.get(arm)) for arm in arms]
    return [row for row in rows if row[1:] != (None, None)]


def _decoded(backbone: BackboneResult) -> list[tuple[TaskResult, ArmResult]]:
    """The cells whose answers were written."""
    cells = [(task, cell) for task in backbone.tasks for cell in task.arms]
    return [(task, cell) for task, cell in cells if (cell.mean_new_tokens, cell.unparsable) != (None, None)]


def _times_the_slowest(task: TaskResult, cell: ArmResult) -> Number:
    """How many times the slowest arm's speed a cell's is, where all were measured on one device."""
    speeds = [arm.speed for arm in task.arms if arm.speed]
    rates = [speed.queries_per_second for speed in speeds if speed.queries_per_second is not None]
    rate = cell.speed.queries_per_second if cell.speed else None
    is_fair = len({speed.device for speed in speeds}) == 1 and len(rates) > 1 and min(rates) > 0
    return rate / min(rates) if is_fair and rate is not None else None


def _choices(report: Report) -> Iterator[tuple[TriedSettings, list[TriedSettings]]]:
    """Each choice, with what it was chosen over."""
    tried: dict[tuple[str | None, str | None, str], list[TriedSettings]] = {}
    for one in report.choices:
        tried.setdefault((one.task, one.backbone, one.arm), []).append(one)
    for same in tried.values():
        over = [one for one in same if not one.chosen]
        yield from ((one, over) for one in same if one.chosen)


def _each_once(names: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(name for name in names if name))


# What templates make of a value


def _dashed(value: Any) -> Any:
    return NOTHING if value is None else value


def _plain(value: Any) -> str:
    """Text that Markdown takes as it is; safe text as it is."""
    return value if isinstance(value, Markup) else as_markdown(str(_dashed(value)))


def _fenced(text: Any) -> Markup:
    return Markup(fenced(str(text), "sh"))
