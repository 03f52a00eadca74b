"""Anything of a report may be missing."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

from helpers.report import (
    Elements,
    full_report,
    html,
    markdown,
    task_of,
    throughput_report,
    tuned_report,
)


def _nulled(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a report that can be null: all but lists' elements."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [place for key, one in inner for place in _nulled(one, (*path, key))]
    return below + ([path] if path and isinstance(path[-1], str) else [])


def test_an_empty_report_is_shown() -> None:
    assert Elements(html({})).of("h1") and markdown({}).startswith("# Report")


def test_any_value_may_be_null_or_missing() -> None:
    report = throughput_report(num_tasks=2)
    report["backbones"][0]["tasks"] = [task_of(report, 1)]
    task_of(report)["arms"].pop(1)
    task_of(report)["comparisons"] = [one for one in task_of(report)["comparisons"] if one["other"] == "cot"]
    report["choices"] = tuned_report()["choices"][:2]
    calibration = task_of(full_report(num_tasks=1))["arms"][0]["calibration"]
    for key in ("risk_coverage", "reliability"):
        del calibration[key][2:]
    task_of(report)["arms"][0] |= {"calibration": calibration, "curve": [{"step": 1, "lm_loss": 2.0}]}
    task_of(report)["arms"][1]["chosen"] = {"training.epochs": 2}
    places = _nulled(report)
    assert len(places) > 100
    for place in places:
        for drop in (False, True):
            changed = deepcopy(report)
            within = changed
            for key in place[:-1]:
                within = within[key]
            within[place[-1]] = None
            if drop:
                del within[place[-1]]
            assert not re.search(r"\b(None|nan)\b", markdown(changed)), place
