"""From finished cells to the report: every number that the page shows, and what cannot be concluded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from dhrd.evaluation.calibration import calibration
from dhrd.evaluation.compare import Pair, compare, describe, holm
from dhrd.experiments.cells import decisive_settings, short_name
from dhrd.experiments.plan import Request
from dhrd.experiments.report import conclusions
from dhrd.experiments.report.results import Found, metrics_of, task_of
from dhrd.experiments.reproduce import Outcome
from dhrd.experiments.study import Arm

FORMAT_VERSION = 1


def summarize(request: Request, outcome: Outcome, *, command: str, created: str) -> dict[str, Any]:
    """Every number of a study's report; see `evaluation/report_format.py` for its shape.

    Args:
        request: What was asked for.
        outcome: Its cells, choices and failures.
        command: That made it.
        created: The date.

    Raises:
        DataError: A cell's file is damaged, or cells of one task are of other rows.
    """
    found = Found(request, outcome)
    backbones = [_backbone(found, name) for name in request.backbones]
    main = conclusions.primary(found)
    return {
        "format_version": FORMAT_VERSION,
        "study": request.study.name,
        "title": request.study.title,
        "question": request.study.question,
        "answer": conclusions.answer(main, backbones),
        "primary": main,
        "command": command,
        "created": created,
        "environments": conclusions.environments(found.all()),
        "backbones": backbones,
        "choices": conclusions.choices(found),
        "paper": [dict(entry) for entry in request.study.paper],
        "undone": list(conclusions.undone(found)),
        "limits": [*request.study.limits, *conclusions.limits(found, backbones)],
        "settings": decisive_settings(request.base),
        "arm_settings": {arm.name: _settings(arm) for arm in request.arms},
    }


def _settings(arm: Arm) -> dict[str, Any]:
    return {**arm.settings, **({"encoder": arm.encoder} if arm.encoder is not None else {})}


def _backbone(found: Found, name: str) -> dict[str, Any]:
    request = found.request
    tasks = [found_task for task in request.tasks if (found_task := _of_task(found, name, task)) is not None]
    _correct(tasks, request.arms)
    over_tasks = list(_over_tasks(found, name)) if len(tasks) > 1 else []
    return {"name": short_name(name), **_averages(tasks, request.arms), "over_tasks": over_tasks, "tasks": tasks}


def _over_tasks(found: Found, backbone: str) -> Iterator[dict[str, Any]]:
    for arm in found.request.arms:
        for baseline in found.request.baselines_of(arm):
            if (result := conclusions.over_tasks(found, backbone, baseline, arm.name)) is not None:
                yield result


def _of_task(found: Found, backbone: str, task: str) -> dict[str, Any] | None:
    request = found.request
    arms = [_arm(found, backbone, task, arm) for arm in request.arms_of(task)]
    arms = [arm for arm in arms if arm is not None]
    if not arms:
        return None
    results = [result for arm in request.arms for result in found.results(task, backbone, arm.name).values()]
    data = results[0]["data"]
    full = max((result["outcomes"] for result in results), key=lambda outcomes: len(outcomes.ids))
    return {
        "task": task,
        "factors": dict(condition.factors) if (condition := request.study.condition(task)) else {},
        "metrics": list(metrics_of(task)),
        "num_validation": len(full.ids),
        "num_train": data["num_train"],
        "num_with_rationale": max(result["data"]["num_with_rationale"] for result in results),
        "majority_share": float(full.gold_BC.mean(axis=0).max()),
        "arms": arms,
        "comparisons": [comparison for arm in request.arms for comparison in _comparisons(found, backbone, task, arm)],
    }


def _arm(found: Found, backbone: str, task: str, arm: Arm) -> dict[str, Any] | None:
    results = found.results(task, backbone, arm.name)
    if not results:
        return None
    outcomes = [result["outcomes"] for result in results.values()]
    described = {metric: describe(outcomes, metric=metric, task=task_of(task)) for metric in metrics_of(task)}
    first = next(iter(results.values()))
    return {
        "arm": arm.name,
        "title": arm.title,
        "seeds": [
            {"seed": seed, "values": {metric: result["metrics"][metric] for metric in metrics_of(task)}}
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


def _comparisons(found: Found, backbone: str, task: str, arm: Arm) -> Iterator[dict[str, Any]]:
    for baseline in found.request.baselines_of(arm):
        if pairs := found.pairs(task, backbone, baseline, arm.name):
            yield from _comparison(found, task, baseline, arm, pairs)


def _comparison(
    found: Found, task: str, baseline: str, arm: Arm, pairs: Mapping[int, Pair]
) -> Iterator[dict[str, Any]]:
    names = (found.request.study.arm(baseline).title, arm.title)
    for metric in metrics_of(task):
        yield {
            "baseline": baseline,
            "other": arm.name,
            "seeds": list(pairs),
            "p_holm": None,
            **compare(list(pairs.values()), metric=metric, task=task_of(task), names=names),
        }


def _correct(tasks: Sequence[dict[str, Any]], arms: Sequence[Arm]) -> None:
    """Holm over tasks of each comparison in the task's first metric: one family an arm and baseline."""
    for pair in [(baseline, arm.name) for arm in arms for baseline in arm.baselines]:
        family = {
            task["task"]: comparison
            for task in tasks
            for comparison in task["comparisons"]
            if (comparison["baseline"], comparison["other"]) == pair and comparison["metric"] == task["metrics"][0]
        }
        corrected = holm({name: comparison["p_value"] for name, comparison in family.items()})
        for name, comparison in family.items():
            comparison["p_holm"] = corrected[name]


def _averages(tasks: Sequence[dict[str, Any]], arms: Sequence[Arm]) -> dict[str, Any]:
    """Each arm's mean over tasks of its first metric, as the paper gives it, and its gain over its first baseline.

    Over the tasks that all arms have, and in each over the seeds that all arms have: another mean would compare
    unlike with unlike.
    """
    whole = [task for task in tasks if {arm["arm"] for arm in task["arms"]} == {arm.name for arm in arms}]
    values: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for task in whole:
        by_arm = {
            arm["arm"]: {seed["seed"]: seed["values"][task["metrics"][0]] for seed in arm["seeds"]}
            for arm in task["arms"]
        }
        if common := set.intersection(*(set(seeds) for seeds in by_arm.values())):
            for name, seeds in by_arm.items():
                values[name].append(fmean(seeds[seed] for seed in common))
    average = {name: fmean(found) for name, found in values.items() if found}
    first = {arm.name: next((name for name in arm.baselines if average.get(name)), None) for arm in arms}
    gains = {
        name: 100 * (average[name] / average[baseline] - 1)
        for name, baseline in first.items()
        if baseline is not None and name in average
    }
    return {
        "average": average,
        "average_over": [task["task"] for task in whole],
        "relative_gain_percent": gains,
    }
