"""From finished cells to the report: every number that the page shows, and what cannot be concluded."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from dhrd.data.superglue import TASKS, Task
from dhrd.errors import DataError
from dhrd.evaluation.calibration import calibration
from dhrd.evaluation.compare import Pair, compare, describe, holm, primary
from dhrd.evaluation.outcomes import Outcomes
from dhrd.experiments.cells import Cell, decisive_settings, short_name
from dhrd.experiments.plan import Request, seeds
from dhrd.experiments.reproduce import Outcome
from dhrd.experiments.study import Arm

logger = logging.getLogger("dhrd")

FORMAT_VERSION = 1


def summarize(request: Request, outcome: Outcome, *, command: str, created: str) -> dict[str, Any]:
    """Every number of a study's report; see `evaluation/report.py` for its shape.

    Args:
        request: What was asked for.
        outcome: Its cells, choices and failures.
        command: That made it.
        created: The date.

    Raises:
        DataError: A cell's file is damaged, or cells of one task are of other rows.
    """
    found = _Found(request, outcome)
    backbones = [_backbone(found, name) for name in request.backbones]
    main = _primary(found)
    return {
        "format_version": FORMAT_VERSION,
        "study": request.study.name,
        "title": request.study.title,
        "question": request.study.question,
        "answer": _answer(main, backbones),
        "primary": main,
        "command": command,
        "created": created,
        "environments": _environments(found.all()),
        "backbones": backbones,
        "choices": _choices(found),
        "paper": [dict(entry) for entry in request.study.paper],
        "undone": list(_undone(found)),
        "limits": [*request.study.limits, *_limits(found, backbones)],
        "settings": decisive_settings(request.base),
        "arm_settings": {arm.name: dict(arm.settings) for arm in request.arms},
    }


class _Found:
    """The finished cells, by what they are of."""

    def __init__(self, request: Request, outcome: Outcome) -> None:
        self.request, self.outcome = request, outcome
        self._cells: dict[tuple[str, str, str, int], Cell] = {}
        self._results: dict[tuple[str, str, str, int], dict[str, Any]] = {}
        for cell in outcome.cells:
            key = (cell.task, cell.config.model.name_or_path, cell.arm.name, cell.config.seed)
            self._cells[key] = cell
            if (result := request.store.find(cell)) is not None:
                self._results[key] = {**result, "outcomes": Outcomes.from_json(result["outcomes"])}

    def all(self) -> list[dict[str, Any]]:
        """Every finished cell."""
        return list(self._results.values())

    def cell(self, task: str, backbone: str, arm: str, seed: int) -> Cell | None:
        """The cell, finished or not; None while its settings wait for a choice."""
        return self._cells.get((task, backbone, arm, seed))

    def result(self, task: str, backbone: str, arm: str, seed: int) -> dict[str, Any] | None:
        """A finished cell's file."""
        return self._results.get((task, backbone, arm, seed))

    def results(self, task: str, backbone: str, arm: str) -> dict[int, dict[str, Any]]:
        """Seed -> a finished cell's file."""
        found = {seed: self.result(task, backbone, arm, seed) for seed in seeds(self.request)}
        return {seed: result for seed, result in found.items() if result is not None}

    def pairs(self, task: str, backbone: str, baseline: str, other: str) -> dict[int, Pair]:
        """Seed -> the outcomes of both arms, where both are there, on rows that both have."""
        ours, theirs = self.results(task, backbone, baseline), self.results(task, backbone, other)
        return {seed: _same_rows(ours[seed]["outcomes"], theirs[seed]["outcomes"]) for seed in ours if seed in theirs}


def _same_rows(first: Outcomes, second: Outcomes) -> Pair:
    """Both on the rows that both have: decoding may have been limited to some."""
    common = set(first.ids) & set(second.ids)
    if not common:
        raise DataError("two arms have no row in common; they were run on other data: use another --output")
    kept = [one.rows([index for index, row_id in enumerate(one.ids) if row_id in common]) for one in (first, second)]
    return kept[0], kept[1]


def _task(name: str) -> Task | None:
    return TASKS.get(name)


def _metrics(name: str) -> tuple[str, ...]:
    task = _task(name)
    return task.metrics if task else ("accuracy", "macro_f1")


def _backbone(found: _Found, name: str) -> dict[str, Any]:
    request = found.request
    tasks = [found_task for task in request.tasks if (found_task := _of_task(found, name, task)) is not None]
    _correct(tasks, request.arms)
    return {"name": short_name(name), **_averages(tasks, request.arms), "tasks": tasks}


def _of_task(found: _Found, backbone: str, task: str) -> dict[str, Any] | None:
    request = found.request
    arms = [_arm(found, backbone, task, arm) for arm in request.arms]
    arms = [arm for arm in arms if arm is not None]
    if not arms:
        return None
    results = [result for arm in request.arms for result in found.results(task, backbone, arm.name).values()]
    data = results[0]["data"]
    full = max((result["outcomes"] for result in results), key=lambda outcomes: len(outcomes.ids))
    return {
        "task": task,
        "metrics": list(_metrics(task)),
        "num_validation": len(full.ids),
        "num_train": data["num_train"],
        "num_with_rationale": max(result["data"]["num_with_rationale"] for result in results),
        "majority_share": float(full.gold_BC.mean(axis=0).max()),
        "arms": arms,
        "comparisons": [comparison for arm in request.arms for comparison in _comparisons(found, backbone, task, arm)],
    }


def _arm(found: _Found, backbone: str, task: str, arm: Arm) -> dict[str, Any] | None:
    results = found.results(task, backbone, arm.name)
    if not results:
        return None
    outcomes = [result["outcomes"] for result in results.values()]
    described = {metric: describe(outcomes, metric=metric, task=_task(task)) for metric in _metrics(task)}
    first = next(iter(results.values()))
    return {
        "arm": arm.name,
        "title": arm.title,
        "seeds": [
            {"seed": seed, "values": {metric: result["metrics"][metric] for metric in _metrics(task)}}
            for seed, result in results.items()
        ],
        "mean": {metric: one["mean"] for metric, one in described.items()},
        "interval_95": {metric: one["interval_95"] for metric, one in described.items() if one["interval_95"]},
        "interval_method": next(iter(described.values()))["interval_method"],
        "selected_on": any(result["selected_on"] for result in results.values()),
        "chosen": dict(found.outcome.choices.get((task, backbone, arm.name)) or {}),
        "calibration": _calibration(first),
        "seconds": fmean(result["seconds"]["total"] for result in results.values()),
        "train_tokens": first["train_tokens"],
        "curve": _mean_curve([result["curve"] for result in results.values()]),
        "speed": _speed(results),
        "unparsable": _mean_of(results, "unparsable"),
        "mean_new_tokens": _mean_of(results, "mean_new_tokens"),
    }


def _mean_of(results: Mapping[int, Mapping[str, Any]], metric: str) -> float | None:
    values = [result["metrics"][metric] for result in results.values() if metric in result["metrics"]]
    return fmean(values) if values else None


def _calibration(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of the first seed: probabilities averaged over seeds would be another classifier, and better calibrated."""
    outcomes = result["outcomes"]
    if outcomes.probabilities_BC is None or outcomes.labels.multi_label:
        return None
    p_BC = outcomes.probabilities_BC  # rounded in the file, so that rows may miss one by a little
    found = calibration(p_BC / p_BC.sum(axis=1, keepdims=True), outcomes.gold_BC.argmax(axis=1))
    return {**found, "temperature": result.get("temperature")}


def _mean_curve(curves: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """The losses averaged over seeds, where all seeds have the step."""
    by_step = [{int(point["step"]): point for point in curve} for curve in curves]
    steps = [step for step in by_step[0] if all(step in one for one in by_step)]
    names = ("classification_loss", "lm_loss")
    return [{"step": step, **{name: fmean(one[step][name] for one in by_step) for name in names}} for step in steps]


def _speed(results: Mapping[int, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Of the first seed, with the accuracy that belongs to it."""
    for result in results.values():
        if result["speed"] is not None:
            return {**result["speed"], "accuracy": result["metrics"]["accuracy"], "device": result["device"]}
    return None


def _comparisons(found: _Found, backbone: str, task: str, arm: Arm) -> Iterator[dict[str, Any]]:
    if arm.baseline is None or arm.baseline not in {one.name for one in found.request.arms}:
        return
    pairs = found.pairs(task, backbone, arm.baseline, arm.name)
    if not pairs:
        return
    names = (found.request.study.arm(arm.baseline).title, arm.title)
    for metric in _metrics(task):
        yield {
            "baseline": arm.baseline,
            "other": arm.name,
            "seeds": list(pairs),
            "p_holm": None,
            **compare(list(pairs.values()), metric=metric, task=_task(task), names=names),
        }


def _correct(tasks: Sequence[dict[str, Any]], arms: Sequence[Arm]) -> None:
    """Holm over tasks of each arm's comparison in the task's first metric: one family an arm."""
    for arm in arms:
        family = {
            task["task"]: comparison
            for task in tasks
            for comparison in task["comparisons"]
            if comparison["other"] == arm.name and comparison["metric"] == task["metrics"][0]
        }
        corrected = holm({name: comparison["p_value"] for name, comparison in family.items()})
        for name, comparison in family.items():
            comparison["p_holm"] = corrected[name]


def _averages(tasks: Sequence[dict[str, Any]], arms: Sequence[Arm]) -> dict[str, Any]:
    """Each arm's mean over tasks of its first metric, over the tasks that all arms have; gains as the paper gives."""
    whole = [task for task in tasks if {arm["arm"] for arm in task["arms"]} == {arm.name for arm in arms}]
    values: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for task in whole:
        for arm in task["arms"]:
            values[arm["arm"]].append(arm["mean"][task["metrics"][0]])
    average = {name: fmean(found) for name, found in values.items() if found}
    gains = {
        arm.name: 100 * (average[arm.name] / average[arm.baseline] - 1)
        for arm in arms
        if arm.baseline in average and arm.name in average and average[arm.baseline]
    }
    return {
        "average": average,
        "average_over": [task["task"] for task in whole],
        "relative_gain_percent": gains,
    }


def _primary(found: _Found) -> dict[str, Any] | None:
    """The study's first question, on its first backbone; None where no task has both arms."""
    request = found.request
    baseline, other = request.study.primary
    if not {baseline, other} <= {arm.name for arm in request.arms}:
        return None
    backbone = request.backbones[0]
    by_task = {task: found.pairs(task, backbone, baseline, other) for task in request.tasks}
    by_task = {task: pairs for task, pairs in by_task.items() if pairs}
    if not by_task:
        return None
    common = set.intersection(*(set(pairs) for pairs in by_task.values()))
    if not common:
        return None
    tasks = {
        task: ([pairs[seed] for seed in sorted(common)], _metrics(task)[0], _task(task))
        for task, pairs in by_task.items()
    }
    names = (request.study.arm(baseline).title, request.study.arm(other).title)
    return {
        "baseline": baseline,
        "other": other,
        "backbone": short_name(backbone),
        "seeds": sorted(common),
        **primary(tasks, names=names),
    }


def _answer(main: Mapping[str, Any] | None, backbones: Sequence[Mapping[str, Any]]) -> str:
    if main is not None:
        return str(main["verdict"])
    if any(backbone["tasks"] for backbone in backbones):
        return "The two arms of the first question have no seed in common yet."
    return "No cell is finished yet."


def _environments(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    counts: Counter[tuple[Any, ...]] = Counter(
        (result["device"], result["precision"], result["threads"], tuple(result["versions"].items()))
        for result in results
    )
    return [
        {
            "device": device,
            "precision": precision,
            "threads": threads,
            "versions": dict(versions),
            "num_cells": count,
        }
        for (device, precision, threads, versions), count in counts.most_common()
    ]


def _choices(found: _Found) -> list[dict[str, Any]]:
    """What was chosen from what, with the numbers that it was chosen by."""
    rows = []
    for (task, backbone, arm), candidates in found.outcome.candidates.items():
        for point, cells in candidates:
            results = [result for cell in cells if (result := found.request.store.find(cell)) is not None]
            metric = cells[0].config.training.metric or _metrics(task)[0]
            rows.append(
                {
                    "task": task,
                    "backbone": short_name(backbone),
                    "arm": arm,
                    "settings": dict(point),
                    "metric": metric,
                    "value": fmean(result["metrics"][metric] for result in results) if results else None,
                    "num_folds": len(results),
                    "chosen": found.outcome.choices.get((task, backbone, arm)) == point,
                    "selected_on": True,
                }
            )
    return rows


def _undone(found: _Found) -> Iterator[dict[str, str]]:
    request = found.request
    waiting = itertools.product(request.backbones, request.tasks, seeds(request), request.arms)
    for backbone, task, seed, arm in waiting:
        if found.result(task, backbone, arm.name, seed) is not None:
            continue
        cell = found.cell(task, backbone, arm.name, seed)
        title = cell.title if cell else f"{task} · {short_name(backbone)} · {arm.title} · seed {seed}"
        failure = found.outcome.failures.get(cell.key) if cell else None
        why = f"failed: {failure}" if failure else "not run" if cell else "waits for its settings to be chosen"
        yield {"cell": title, "why": why}


def _limits(found: _Found, backbones: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    results = found.all()
    if not results:
        return
    num_seeds = min(len(arm["seeds"]) for backbone in backbones for task in backbone["tasks"] for arm in task["arms"])
    if num_seeds == 1:
        yield "With one seed the intervals are over rows alone: another seed may give another sign."
    elif num_seeds < 5:
        yield (
            f"With {num_seeds} seeds the intervals are over seeds, on these validation rows: they do not say what "
            "other rows would give."
        )
    if not found.request.grid:
        yield (
            "The settings were not tuned: they are the same for all arms, and another learning rate or more epochs "
            "may turn the order."
        )
    if len(found.request.backbones) == 1:
        yield f"One backbone, {short_name(found.request.backbones[0])}: larger ones may behave otherwise."
    if len({(result["device"], result["precision"]) for result in results}) > 1:
        yield "The cells were run on different devices or in different precisions; pairs may differ by that too."
    if len({tuple(result["versions"].items()) for result in results}) > 1:
        yield "The cells were run with different versions of the libraries."
    for backbone in backbones:
        for task in backbone["tasks"]:
            share = task["num_with_rationale"] / task["num_train"]
            if share < 1:
                yield f"{task['task']}: {share:.0%} of the training rows have a rationale; the rest teach their label."
