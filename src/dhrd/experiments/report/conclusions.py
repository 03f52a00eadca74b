"""What a study answers, from what, and what cannot be concluded from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean

from dhrd.data.superglue import TASKS
from dhrd.experiments.cell_result import CellResult
from dhrd.experiments.cells import short_name
from dhrd.experiments.plan import metric_of_choice, planned
from dhrd.experiments.report.results import Results, metrics_of
from dhrd.experiments.report.schema import BackboneResult, Comparison, Environment, TriedSettings, Undone
from dhrd.metrics.compare import primary


def first_question(results: Results) -> Comparison | None:
    """The study's first question, on its first backbone; None where no task has both arms."""
    request = results.request
    baseline, other = request.study.primary
    if not {baseline, other} <= {arm.name for arm in request.arms}:
        return None
    backbone = request.backbones[0]
    comparison = over_tasks(results, backbone, baseline, other)
    return comparison and comparison.model_copy(update={"backbone": results.name(backbone)})


def over_tasks(results: Results, backbone: str, baseline: str, other: str) -> Comparison | None:
    """Two arms over all tasks that have both, at the seeds that all of these have; None where there are none."""
    by_task = {task: results.pairs(task, backbone, baseline, other) for task in results.request.tasks}
    by_task = {task: pairs for task, pairs in by_task.items() if pairs}
    common = set.intersection(*(set(pairs) for pairs in by_task.values())) if by_task else set()
    if not common:
        return None
    tasks = {
        task: ([pairs[seed] for seed in sorted(common)], metrics_of(task)[0], TASKS.get(task))
        for task, pairs in by_task.items()
    }
    study = results.request.study
    numbers = primary(tasks, names=(study.arm(baseline).in_text, study.arm(other).in_text))
    return Comparison(baseline=baseline, other=other, seeds=sorted(common), **numbers)


def in_a_sentence(results: Results, comparison: Comparison | None, backbones: Sequence[BackboneResult]) -> str:
    """The answer to the first question."""
    if comparison is not None:
        verdict = str(comparison.verdict)
        return f"{verdict[:1].upper()}{verdict[1:]}."
    study, asked = results.request.study, {arm.name for arm in results.request.arms}
    if missing := [study.arm(name) for name in study.primary if name not in asked]:
        left_out = " and ".join(arm.in_text for arm in missing)
        return f"The study's first question is not answered here, as it was run without {left_out}."
    if any(backbone.tasks for backbone in backbones):
        return "The two arms of the first question have no seed in common yet."
    return "No cell is finished yet."


def environments(results: Sequence[CellResult]) -> list[Environment]:
    """What cells were run on, the commonest first."""
    counts = Counter(
        (result.device, result.precision, result.threads, tuple(result.versions.items())) for result in results
    )
    return [
        Environment(device=device, precision=precision, threads=threads, versions=dict(versions), num_cells=count)
        for (device, precision, threads, versions), count in counts.most_common()
    ]


def choices(results: Results) -> Iterator[TriedSettings]:
    """What was chosen from what, with the numbers that it was chosen by."""
    request, outcome = results.request, results.outcome
    for (task, backbone, arm), candidates in outcome.candidates.items():
        for settings, cells in candidates:
            finished = [result for cell in cells if (result := request.store.find(cell)) is not None]
            metric, diverged = metric_of_choice(cells[0]), any(map(request.store.diverged, cells))
            yield TriedSettings(
                task=task,
                backbone=results.name(backbone),
                arm=arm,
                settings=dict(settings),
                metric=metric,
                value=fmean(result.metrics[metric] for result in finished) if finished and not diverged else None,
                num_folds=len(finished),
                diverged=diverged,
                chosen=outcome.choices.get((task, backbone, arm)) == settings,
                selected_on=True,
            )


def undone(results: Results) -> Iterator[Undone]:
    """The cells that are not finished, and why."""
    for backbone, task, seed, arm in planned(results.request):
        if results.result(task, backbone, arm.name, seed) is not None:
            continue
        cell = results.cell(task, backbone, arm.name, seed)
        title = cell.title if cell else f"{task} · {short_name(backbone)} · {arm.title} · seed {seed}"
        failure = results.outcome.failures.get(cell.key) if cell else None
        why = f"failed: {failure}" if failure else "not run" if cell else "waits for its settings to be chosen"
        yield Undone(cell=title, why=why)


def limits(results: Results, backbones: Sequence[BackboneResult]) -> Iterator[str]:
    """What cannot be concluded, a sentence each."""
    finished, request = results.all(), results.request
    if not finished:
        return
    yield from _of_seeds(min(len(arm.seeds) for backbone in backbones for task in backbone.tasks for arm in task.arms))
    if any(c.is_over_rows for backbone in backbones for task in backbone.tasks for c in task.comparisons):
        yield (
            "Where all seeds have the same difference, its interval is over rows at these seeds: another seed may "
            "give another one."
        )
    yield from _the_same(results)
    if not request.grid:
        yield (
            "The settings were not tuned: they are the same for all arms, and another learning rate or more epochs "
            "may turn the order."
        )
    if len(request.backbones) == 1:
        yield f"One backbone, {short_name(request.backbones[0])}: larger ones may behave otherwise."
    if len({(result.device, result.precision) for result in finished}) > 1:
        yield "The cells were run on different devices or in different precisions; pairs may differ by that too."
    if len({tuple(result.versions.items()) for result in finished}) > 1:
        yield "The cells were run with different versions of the libraries."
    for task in [task for backbone in backbones for task in backbone.tasks]:
        share = (task.num_with_rationale or 0) / (task.num_train or 1)
        if share < 1:
            yield f"{task.task}: {share:.0%} of the training rows have a rationale; the rest teach their label."


def _the_same(results: Results) -> Iterator[str]:
    """Arms that the user's settings make one training."""
    arms = {arm.name: arm for arm in results.request.arms}
    by_key: dict[str, list[str]] = {}
    for cell in results.outcome.cells:
        by_key.setdefault(cell.key, []).append(cell.arm.name)
    for same in dict.fromkeys(tuple(dict.fromkeys(names)) for names in by_key.values() if len(set(names)) > 1):
        titles = " and ".join(arms[name].in_text for name in same)
        yield f"{titles[:1].upper()}{titles[1:]} are the same training with these settings, so no difference is shown."


def _of_seeds(num_seeds: int) -> Iterator[str]:
    if num_seeds == 1:
        yield "With one seed the intervals are over rows alone: another seed may give another sign."
    elif num_seeds < 5:
        yield (
            f"With {num_seeds} seeds the intervals are over seeds, on these validation rows: they do not say what "
            "other rows would give."
        )
