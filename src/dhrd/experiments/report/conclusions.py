"""What a study answers, from what, and what cannot be concluded from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from dhrd.evaluation import compare
from dhrd.experiments.cells import short_name
from dhrd.experiments.plan import metric_of_choice, planned
from dhrd.experiments.report.results import Found, metrics_of, task_of


def primary(found: Found) -> dict[str, Any] | None:
    """The study's first question, on its first backbone; None where no task has both arms."""
    request = found.request
    baseline, other = request.study.primary
    if not {baseline, other} <= {arm.name for arm in request.arms}:
        return None
    backbone = request.backbones[0]
    result = over_tasks(found, backbone, baseline, other)
    return None if result is None else {"backbone": short_name(backbone), **result}


def over_tasks(found: Found, backbone: str, baseline: str, other: str) -> dict[str, Any] | None:
    """Two arms over all tasks that have both, at the seeds that all of these have; None where there are none."""
    by_task = {task: found.pairs(task, backbone, baseline, other) for task in found.request.tasks}
    by_task = {task: pairs for task, pairs in by_task.items() if pairs}
    common = set.intersection(*(set(pairs) for pairs in by_task.values())) if by_task else set()
    if not common:
        return None
    tasks = {
        task: ([pairs[seed] for seed in sorted(common)], metrics_of(task)[0], task_of(task))
        for task, pairs in by_task.items()
    }
    study = found.request.study
    names = (study.arm(baseline).title, study.arm(other).title)
    return {
        "baseline": baseline,
        "other": other,
        "seeds": sorted(common),
        **compare.primary(tasks, names=names),
    }


def answer(main: Mapping[str, Any] | None, backbones: Sequence[Mapping[str, Any]]) -> str:
    if main is not None:
        verdict = str(main["verdict"])
        return f"{verdict[:1].upper()}{verdict[1:]}."
    if any(backbone["tasks"] for backbone in backbones):
        return "The two arms of the first question have no seed in common yet."
    return "No cell is finished yet."


def environments(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
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


def choices(found: Found) -> list[dict[str, Any]]:
    """What was chosen from what, with the numbers that it was chosen by."""
    rows = []
    for (task, backbone, arm), candidates in found.outcome.candidates.items():
        for point, cells in candidates:
            results = [result for cell in cells if (result := found.request.store.find(cell)) is not None]
            metric = metric_of_choice(cells[0])
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


def undone(found: Found) -> Iterator[dict[str, str]]:
    request = found.request
    for backbone, task, seed, arm in planned(request):
        if found.result(task, backbone, arm.name, seed) is not None:
            continue
        cell = found.cell(task, backbone, arm.name, seed)
        title = cell.title if cell else f"{task} · {short_name(backbone)} · {arm.title} · seed {seed}"
        failure = found.outcome.failures.get(cell.key) if cell else None
        why = f"failed: {failure}" if failure else "not run" if cell else "waits for its settings to be chosen"
        yield {"cell": title, "why": why}


def limits(found: Found, backbones: Sequence[Mapping[str, Any]]) -> Iterator[str]:
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
