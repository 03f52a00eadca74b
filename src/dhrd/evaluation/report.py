"""A study's report: JSON for scripts, Markdown for a README, and a page to look at."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from dhrd.errors import MissingExtra
from dhrd.evaluation import figures
from dhrd.evaluation.figures import Arm, excludes_zero, is_interval, is_number, points, points_range
from dhrd.evaluation.metrics import higher_is_better
from dhrd.model.files import saving, writing

FORMAT_VERSION = 1
PAPER_SPEEDUP = "96 to 142 ×"
"""Queries per second against chain of thought: the paper's Table 5."""

_COMPARISON: dict[str, Any] = {
    "baseline": None,
    "other": None,
    "metric": None,
    "difference": None,
    "interval_95": None,
    "interval_method": None,
    "rows_interval_95": None,
    "p_value": None,
    "p_holm": None,
    "seed_differences": [],
    "mcnemar": [{"only_baseline": None, "only_other": None, "p_value": None}],
    "smallest_told": None,
    "num_rows": None,
    "num_seeds": None,
    "verdict": None,
}
_ARM: dict[str, Any] = {
    "arm": None,
    "title": None,
    "seeds": [{"seed": None, "values": {}}],
    "mean": {},
    "interval_95": {},
    "selected_on": False,
    "calibration": {
        "ece": None,
        "brier": None,
        "log_loss": None,
        "temperature": None,
        "aurc": None,
        "reliability": [{"low": 0.0, "high": 1.0, "confidence": None, "accuracy": None, "count": 0}],
        "risk_coverage": [{"coverage": None, "risk": None, "threshold": None}],
    },
    "seconds": None,
    "train_tokens": None,
    "curve": [{"step": None, "classification_loss": None, "lm_loss": None}],
    "speed": {
        "queries_per_second": None,
        "min": None,
        "max": None,
        "num_queries": None,
        "engine": None,
        "mean_new_tokens": None,
        "unparsable_share": None,
        "accuracy": None,
        "device": None,
    },
}
_TASK: dict[str, Any] = {
    "task": None,
    "metrics": [],
    "num_validation": None,
    "num_train": None,
    "num_with_rationale": None,
    "majority_share": None,
    "arms": [_ARM],
    "comparisons": [_COMPARISON],
}
_REPORT: dict[str, Any] = {
    "format_version": FORMAT_VERSION,
    "study": None,
    "title": "Report",
    "question": None,
    "answer": None,
    "primary": {
        "difference": None,
        "interval_95": None,
        "interval_method": None,
        "p_value": None,
        "num_tasks": None,
        "num_seeds": None,
        "seed_differences": [],
        "verdict": None,
        "rows_interval_95": None,
    },
    "command": None,
    "created": None,
    "environments": [{"device": None, "versions": {}, "num_cells": None}],
    "backbones": [{"name": None, "average": {}, "relative_gain_percent": {}, "tasks": [_TASK]}],
    "paper": [{"what": None, "where": None, "value": None}],
    "undone": [{"cell": None, "why": None}],
    "limits": [],
    "settings": {},
    "arm_settings": {},
}
"""A report's whole format. `[record]` is a list of records, a filled record may be null, `{}` has free keys."""


def write_report(report: dict[str, Any], directory: Path) -> list[Path]:
    """Write a report in its three forms.

    Args:
        report: The report; what it may hold is listed above `complete`. Anything may be missing or null.
        directory: Made if it is not there.

    Returns:
        The paths of `report.json` (the report as given), `report.md` and `report.html`.

    Raises:
        SaveError: A file could not be written.
    """
    texts = {
        "report.json": json.dumps(report, indent=2, ensure_ascii=False) + "\n",
        "report.md": markdown(report),
        "report.html": html(report),
    }
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
    whole = complete(report)
    try:
        drawings, missing = figures.draw(whole), None
    except MissingExtra as error:
        drawings, missing = {name: [] for name in figures.NAMES}, f"Figures are left out: {error}"
    return _template("html").render(
        **_shown(whole),
        drawings=drawings,
        missing=missing,
        markers=_MARKER_PATHS,
        num_colours=figures.NUM_COLOURS,
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


def complete(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report with every key of the format: null or empty where nothing was given.

    Args:
        report: Whatever there is of a report.

    Returns:
        A copy, in which templates and figures need not ask whether a key is there.
    """
    return _complete(report, _REPORT)


def _complete(given: Mapping[str, Any], shape: Mapping[str, Any]) -> dict[str, Any]:
    return {**given, **{key: _completed(given.get(key), default) for key, default in shape.items()}}


def _completed(value: Any, default: Any) -> Any:
    if isinstance(default, list):
        return [_complete(one, default[0]) if default else one for one in value or []]
    if isinstance(default, dict) and default:
        return None if value is None else _complete(value, default)
    return default if value is None else value


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
    environment.filters |= _FILTERS
    source = resources.files("dhrd.evaluation").joinpath(f"report.{kind}.jinja").read_text(encoding="utf-8")
    return environment.from_string(source)


def _shown(report: dict[str, Any]) -> dict[str, Any]:
    """What both templates are given."""
    arms = figures.arms_of(report)
    compared = [one for _, task in figures.tasks(report) for one in task["comparisons"]]
    return {
        "report": report,
        "arms": arms,
        "results": [_backbone(backbone, arms) for backbone in report["backbones"]],
        "several_baselines": len({one["baseline"] for one in compared}) > 1,
        "has_comparisons": bool(compared),
        "methods": _methods(report),
        "is_selected": any(arm["selected_on"] for _, _, arm in figures.cells(report)),
        "paper_speedup": PAPER_SPEEDUP,
        "arm_settings": _arm_settings(report["arm_settings"]),
    }


# What the tables show, by backbone


def _backbone(backbone: dict[str, Any], arms: dict[str, Arm]) -> dict[str, Any]:
    """The rows of one backbone's tables."""
    found = [(task, cell, arms[str(cell["arm"])]) for task in backbone["tasks"] for cell in task["arms"]]
    return {
        "name": backbone["name"],
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
    named = [one["interval_method"] for _, task in figures.tasks(report) for one in task["comparisons"]]
    named += [report["primary"]["interval_method"]] if report["primary"] else []
    return list(dict.fromkeys(str(name) for name in named if name))


def _arm_settings(settings: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Each arm's settings, a line each."""
    return [
        (arm, key, value)
        for arm, changed in settings.items()
        for key, value in (changed.items() if isinstance(changed, Mapping) else [("", changed)])
    ]


# How numbers are written, in both forms alike


def _or_dash(write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: write(value) if is_number(value) else "–"


def _metric(value: Any, name: str) -> str:
    """A share in percent; a loss as it is."""
    if not is_number(value):
        return "–"
    return f"{100 * value:.1f}" if higher_is_better(name) else f"{value:.3f}"


def _metric_range(interval: Any, name: str) -> str:
    return f"{_metric(interval[0], name)} to {_metric(interval[1], name)}" if is_interval(interval) else "–"


def _change(value: Any, name: str) -> str:
    """A difference of a metric: points, or a loss as it is."""
    if not is_number(value) or higher_is_better(name):
        return points(value)
    return f"{value:+.3f}".replace("-", "−")


def _change_range(interval: Any, name: str) -> str:
    return f"{_change(interval[0], name)} to {_change(interval[1], name)}" if is_interval(interval) else "–"


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


def _rate(value: float) -> str:
    """Three digits that mean something, never in powers of ten."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3g}"


def _name(metric: Any) -> str:
    """A metric as people write it."""
    known = {"macro_f1": "macro F1", "micro_f1": "micro F1", "weighted_f1": "weighted F1", "f1a": "F1a", "em": "EM"}
    return known.get(str(metric), str(metric).replace("_", " ")) if metric is not None else "–"


def _dashed(value: Any) -> Any:
    return "–" if value is None else value


def _plain(value: Any) -> str:
    """Text that Markdown takes as it is, on one line so that it stays within its cell; safe text as it is."""
    if isinstance(value, Markup):
        return value
    text = " ".join(str(_dashed(value)).split("\n"))
    return re.sub(r"([\\`*\[\]|])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")


def _fenced(text: Any) -> Markup:
    """A block of code, in a fence longer than any within."""
    longest = max((len(run) for run in re.findall("`+", str(text))), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}sh\n{text}\n{fence}")


_FILTERS: dict[str, Callable[..., Any]] = {
    "metric": _metric,
    "metric_range": _metric_range,
    "change": _change,
    "change_range": _change_range,
    "points": points,
    "points_range": points_range,
    "percent": _or_dash(lambda value: f"{100 * value:.1f} %"),
    "whole": _or_dash(lambda value: f"{value:,.0f}"),
    "three": _or_dash(lambda value: f"{value:.3f}"),
    "one": _or_dash(lambda value: f"{value:,.1f}" if value else "0"),
    "times": _or_dash(lambda value: "1 ×" if value == 1 else f"{_rate(value)} ×"),
    "rate": _or_dash(_rate),
    "gain": _or_dash(lambda value: f"{value:+.2f} %".replace("-", "−")),
    "p": _or_dash(_p_value),
    "duration": _or_dash(_duration),
    "name": _name,
    "fenced": _fenced,
    "excludes_zero": excludes_zero,
    "known": is_number,
}

_MARKER_PATHS = (
    "M2 8a6 6 0 1 0 12 0a6 6 0 1 0-12 0z",
    "M3 3h10v10H3z",
    "M8 2l6.5 11.5h-13z",
    "M8 1l7 7-7 7-7-7z",
    "M8 14L1.5 2.5h13z",
    "M6 2h4v4h4v4h-4v4H6v-4H2V6h4z",
    "M4.5 1.5L8 5l3.5-3.5 3 3L11 8l3.5 3.5-3 3L8 11l-3.5 3.5-3-3L5 8 1.5 4.5z",
    "M8 1.5l6.5 4.7-2.5 7.6H4L1.5 6.2z",
)
"""The shapes of `figures.MARKERS` in a box of 16, for swatches in text."""
