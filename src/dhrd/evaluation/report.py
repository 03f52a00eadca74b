"""A study's report: JSON for scripts, Markdown for a README, and a page to look at."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from dhrd._files import saving, writing
from dhrd._markdown import as_markdown, fenced
from dhrd.errors import MissingExtra
from dhrd.evaluation import figures
from dhrd.evaluation.figures import Arm
from dhrd.evaluation.metrics import higher_is_better
from dhrd.evaluation.report_format import cells, complete, tasks
from dhrd.evaluation.report_numbers import FILTERS, excludes_zero, is_number

NAMES = ("report.json", "report.md", "report.html", "accuracy_by_rows.svg")
"""The files of a report."""

PAPER_SPEEDUP = "96 to 142 ×"
"""Queries per second against chain of thought: the paper's Table 5."""


def write_report(report: dict[str, Any], directory: Path) -> list[Path]:
    """Write a report in its forms.

    Args:
        report: The report; what it may hold is listed in `report_format.py`. Anything may be missing or null.
        directory: Made if it is not there.

    Returns:
        The paths of `report.json` (the report as given), `report.md`, `report.html` and, where the study varies the
        number of training rows, `accuracy_by_rows.svg`.

    Raises:
        SaveError: A file could not be written.
    """
    drawings, missing = _draw(complete(report))
    texts = {
        "report.json": json.dumps(report, indent=2, ensure_ascii=False) + "\n",
        "report.md": markdown(report),
        "report.html": _page(report, drawings, missing),
    }
    if drawings["by_rows"]:
        texts["accuracy_by_rows.svg"] = figures.as_file(drawings["by_rows"][0])
    with saving(str(directory)):
        directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with writing(directory / name) as file:
            file.write(text)
    return [directory / name for name in texts]


def html(report: dict[str, Any]) -> str:
    """The page: self-contained, for light, dark, phone and print; without figures where matplotlib is missing.

    Args:
        report: As for `write_report`.

    Returns:
        An HTML document that loads nothing.
    """
    return _page(report, *_draw(complete(report)))


def _draw(report: dict[str, Any]) -> tuple[dict[str, list[figures.Drawing]], str | None]:
    """The figures, or why there are none."""
    try:
        return figures.draw(report), None
    except MissingExtra as error:
        return {name: [] for name in figures.NAMES}, f"Figures are left out: {error}"


def _page(report: dict[str, Any], drawings: dict[str, list[figures.Drawing]], missing: str | None) -> str:
    return _template("html").render(
        **_shown(complete(report)),
        drawings=drawings,
        missing=missing,
        markers=figures.MARKER_PATHS,
        num_colours=figures.NUM_COLOURS,
        light=figures.LIGHT,
        dark=figures.DARK,
    )


def markdown(report: dict[str, Any]) -> str:
    """The same numbers as compact tables, fit for a README.

    Args:
        report: As for `write_report`.

    Returns:
        GitHub-flavoured Markdown without images.
    """
    text = _template("md").render(**_shown(complete(report)))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


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
    source = resources.files("dhrd.evaluation").joinpath(f"report.{kind}.jinja").read_text(encoding="utf-8")
    return environment.from_string(source)


def _shown(report: dict[str, Any]) -> dict[str, Any]:
    """What both templates are given."""
    arms = figures.arms_of(report)
    compared = [one for _, task in tasks(report) for one in task["comparisons"]]
    return {
        "report": report,
        "arms": arms,
        "results": [_backbone(backbone, arms) for backbone in report["backbones"]],
        "several_baselines": len({one["baseline"] for one in compared}) > 1,
        "has_comparisons": bool(compared),
        "methods": _methods(report),
        "mean_methods": _each_once(arm["interval_method"] for _, _, arm in cells(report)),
        "is_selected": any(arm["selected_on"] for _, _, arm in cells(report)),
        "paper_speedup": PAPER_SPEEDUP,
        "arm_settings": _arm_settings(report["arm_settings"]),
        "choices": _choices(report["choices"]),
    }


# What the tables show, by backbone


def _backbone(backbone: dict[str, Any], arms: dict[str, Arm]) -> dict[str, Any]:
    """The rows of one backbone's tables."""
    found = [(task, cell, arms[str(cell["arm"])]) for task in backbone["tasks"] for cell in task["arms"]]
    return {
        "name": backbone["name"],
        "average_over": backbone["average_over"],
        "over_tasks": [
            (arms[str(one["other"])], arms[str(one["baseline"])], one, _tone(one, "average"))
            for one in backbone["over_tasks"]
        ],
        "tasks": [{**task, "rows": list(_rows(task, arms)), "facts": list(_facts(task))} for task in backbone["tasks"]],
        "seeds": _seeds(backbone),
        "averages": [
            {"arm": arm, "average": backbone["average"].get(name), "gain": backbone["relative_gain_percent"].get(name)}
            for name, arm in arms.items()
            if is_number(backbone["average"].get(name)) or is_number(backbone["relative_gain_percent"].get(name))
        ],
        "calibrations": [(task["task"], arm, cell["calibration"]) for task, cell, arm in found if cell["calibration"]],
        "speeds": [(task["task"], arm, _speed(task, cell)) for task, cell, arm in found if cell["speed"]],
        "costs": [
            (task["task"], arm, cell)
            for task, cell, arm in found
            if is_number(cell["seconds"]) or is_number(cell["train_tokens"])
        ],
        "decoded": [
            (task["task"], arm, cell)
            for task, cell, arm in found
            if is_number(cell["mean_new_tokens"]) or is_number(cell["unparsable"])
        ],
    }


def _facts(task: dict[str, Any]) -> Iterator[str]:
    """What is known of a task's rows."""
    if is_number(task["num_validation"]):
        yield f"{task['num_validation']:,} validation rows"
    if is_number(task["num_train"]):
        reasoned = task["num_with_rationale"]
        with_rationale = f", {reasoned:,} with a rationale" if is_number(reasoned) else ""
        yield f"{task['num_train']:,} training rows{with_rationale}"
    if is_number(task["majority_share"]):
        yield f"commonest label {100 * task['majority_share']:.1f} %"


def _rows(task: dict[str, Any], arms: dict[str, Arm]) -> Iterator[dict[str, Any]]:
    """A row for each metric and arm, and one more for each further baseline that the arm is compared with."""
    metrics = task["metrics"] or list(dict.fromkeys(name for cell in task["arms"] for name in cell["mean"]))
    baselines = {one["baseline"] for one in task["comparisons"]}
    for metric in metrics:
        for cell in task["arms"]:
            compared = [
                one
                for one in task["comparisons"]
                if one["other"] == cell["arm"] and (one["metric"] or metrics[0]) == metric
            ]
            for number, comparison in enumerate(compared or [None]):
                yield {
                    "arm": arms[str(cell["arm"])],
                    "metric": metric,
                    "is_first": number == 0,
                    "is_baseline": comparison is None and cell["arm"] in baselines,
                    "mean": cell["mean"].get(metric),
                    "interval": cell["interval_95"].get(metric),
                    "selected_on": cell["selected_on"],
                    "chosen": cell["chosen"] if metric == metrics[0] else {},
                    "seeds": {one["seed"]: one["values"].get(metric) for one in cell["seeds"]},
                    "comparison": comparison,
                    "baseline": arms[str(comparison["baseline"])] if comparison else None,
                    "tone": _tone(comparison, metric),
                }


def _tone(comparison: dict[str, Any] | None, metric: str) -> str:
    """`better` or `worse` where the interval excludes zero, else nothing."""
    if comparison is None or not excludes_zero(comparison["interval_95"]):
        return ""
    return "better" if (comparison["interval_95"][0] > 0) == higher_is_better(metric) else "worse"


def _seeds(backbone: dict[str, Any]) -> list[Any]:
    """The seeds that any of a backbone's cells has, in order."""
    seeds = {one["seed"] for task in backbone["tasks"] for cell in task["arms"] for one in cell["seeds"]}
    return sorted(seeds, key=lambda seed: (not is_number(seed), seed if is_number(seed) else 0, str(seed)))


def _speed(task: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    """A cell's speed, with how many times the slowest arm's it is where all were measured on one device."""
    speeds = [one["speed"] for one in task["arms"] if one["speed"]]
    rates = [one["queries_per_second"] for one in speeds if is_number(one["queries_per_second"])]
    is_fair = len({one["device"] for one in speeds}) == 1 and len(rates) > 1 and min(rates) > 0
    rate = cell["speed"]["queries_per_second"]
    return {**cell["speed"], "times": rate / min(rates) if is_fair and is_number(rate) else None}


def _methods(report: dict[str, Any]) -> list[str]:
    """How the intervals of differences were made, each way once."""
    named = [one["interval_method"] for _, task in tasks(report) for one in task["comparisons"]]
    named += [report["primary"]["interval_method"]] if report["primary"] else []
    return _each_once(named)


def _each_once(names: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(name) for name in names if name))


def _arm_settings(settings: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Each arm's settings, a line each."""
    return [
        (arm, key, value)
        for arm, changed in settings.items()
        for key, value in (changed.items() if isinstance(changed, Mapping) else [("", changed)])
    ]


def _choices(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every setting that was tried, with how many were tried beside it."""

    def place(one: dict[str, Any]) -> tuple[Any, ...]:
        return one["task"], one["backbone"], one["arm"]

    num_tried = Counter(map(place, choices))
    return [{**one, "num_tried": num_tried[place(one)]} for one in choices]


# What templates make of a value


def _dashed(value: Any) -> Any:
    return "–" if value is None else value


def _plain(value: Any) -> str:
    """Text that Markdown takes as it is; safe text as it is."""
    return value if isinstance(value, Markup) else as_markdown(str(_dashed(value)))


def _fenced(text: Any) -> Markup:
    return Markup(fenced(str(text), "sh"))
