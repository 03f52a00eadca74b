"""From finished cells to the report: every number that the page shows, and what cannot be concluded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from dhrd.data.superglue import TASKS
from dhrd.experiments.cell_result import CellResult, CurveRow
from dhrd.experiments.cells import decisive_settings
from dhrd.experiments.outcome import Outcome
from dhrd.experiments.plan import Request
from dhrd.experiments.report import conclusions
from dhrd.experiments.report.results import Results, metrics_of
from dhrd.experiments.report.schema import (
    FORMAT_VERSION,
    ArmResult,
    BackboneResult,
    CalibrationResult,
    Comparison,
    CurvePoint,
    PaperResult,
    Report,
    SeedResult,
    SpeedResult,
    TaskResult,
)
from dhrd.experiments.study import Arm, Settings
from dhrd.metrics.calibration import calibration
from dhrd.metrics.compare import average_over_seeds, compare, holm


def summarize(request: Request, outcome: Outcome, *, command: str, created: str) -> Report:
    """Every number of a study's report, with the command that made it and the date.

    Raises:
        DataError: A cell's file is damaged, or cells of one task are of other rows.
    """
    results = Results(request, outcome)
    backbones = [_backbone(results, name) for name in request.backbones]
    primary = conclusions.first_question(results)
    return Report(
        format_version=FORMAT_VERSION,
        study=request.study.name,
        title=request.study.title,
        question=request.study.question,
        answer=conclusions.in_a_sentence(results, primary, backbones),
        primary=primary,
        command=command,
        created=created,
        environments=conclusions.environments(results.all()),
        backbones=backbones,
        choices=list(conclusions.choices(results)),
        paper=[PaperResult(**entry) for entry in request.study.paper],
        undone=list(conclusions.undone(results)),
        limits=[*request.study.limits, *conclusions.limits(results, backbones)],
        settings=decisive_settings(request.base),
        arm_settings={arm.name: _settings(arm) for arm in request.arms},
    )


def _settings(arm: Arm) -> Settings:
    return {**arm.settings, **({"encoder": arm.encoder} if arm.encoder is not None else {})}


def _backbone(results: Results, name: str) -> BackboneResult:
    request = results.request
    tasks = [task for task in (_task(results, name, asked) for asked in request.tasks) if task is not None]
    average, average_over = _averages(tasks, request.arms)
    return BackboneResult(
        name=results.name(name),
        average=average,
        average_over=average_over,
        relative_gain_percent=_gains(average, request.arms),
        over_tasks=list(_over_tasks(results, name)) if len(tasks) > 1 else [],
        tasks=_corrected(tasks),
    )


def _over_tasks(results: Results, backbone: str) -> Iterator[Comparison]:
    for arm in results.request.arms:
        for baseline in results.request.baselines_of(arm):
            if (comparison := conclusions.over_tasks(results, backbone, baseline, arm.name)) is not None:
                yield comparison


def _task(results: Results, backbone: str, task: str) -> TaskResult | None:
    request = results.request
    arms = [cell for cell in (_arm(results, backbone, task, arm) for arm in request.arms_of(task)) if cell is not None]
    if not arms:
        return None
    finished = [result for arm in request.arms for result in results.by_seed(task, backbone, arm.name).values()]
    largest = max((result.outcomes for result in finished), key=lambda outcomes: len(outcomes.ids))
    most = max((result.data for result in finished), key=lambda data: (data.num_train, data.num_with_rationale))
    return TaskResult(
        task=task,
        factors=dict(condition.factors) if (condition := request.study.condition(task)) else {},
        metrics=list(metrics_of(task)),
        num_validation=len(largest.ids),
        num_train=most.num_train,
        num_with_rationale=most.num_with_rationale,
        majority_share=float(largest.gold_BC.mean(axis=0).max()),
        arms=arms,
        comparisons=[comparison for arm in request.arms for comparison in _comparisons(results, backbone, task, arm)],
    )


def _arm(results: Results, backbone: str, task: str, arm: Arm) -> ArmResult | None:
    by_seed, names = results.by_seed(task, backbone, arm.name), metrics_of(task)
    if not by_seed:
        return None
    finished = list(by_seed.values())
    described = {
        metric: average_over_seeds([result.outcomes for result in finished], metric=metric, task=TASKS.get(task))
        for metric in names
    }
    return ArmResult(
        arm=arm.name,
        title=arm.title,
        num_rows=len(finished[0].outcomes.ids),
        seeds=[
            SeedResult(seed=seed, values={metric: result.metrics[metric] for metric in names})
            for seed, result in by_seed.items()
        ],
        mean={metric: numbers["mean"] for metric, numbers in described.items()},
        interval_95={metric: numbers["interval_95"] for metric, numbers in described.items() if numbers["interval_95"]},
        interval_method=described[names[0]]["interval_method"],
        selected_on=any(result.selected_on for result in finished),
        chosen=dict(results.outcome.choices.get((task, backbone, arm.name)) or {}),
        calibration=_calibration(finished[0]),
        seconds=fmean(result.seconds["total"] for result in finished),
        train_tokens=finished[0].train_tokens,
        curve=_mean_curve([result.curve for result in finished]),
        speed=_speed(finished),
        unparsable=_mean_of(finished, "unparsable"),
        mean_new_tokens=_mean_of(finished, "mean_new_tokens"),
    )


def _mean_of(results: Sequence[CellResult], metric: str) -> float | None:
    values = [result.metrics[metric] for result in results if metric in result.metrics]
    return fmean(values) if values else None


def _calibration(result: CellResult) -> CalibrationResult | None:
    """The calibration at the first seed: averaging over seeds would give another, better calibrated classifier."""
    outcomes = result.outcomes
    if outcomes.probabilities_BC is None or outcomes.labels.multi_label:
        return None
    p_BC = outcomes.probabilities_BC  # rounded in the file, so that rows may miss one by a little
    numbers = calibration(p_BC / p_BC.sum(axis=1, keepdims=True), outcomes.gold_BC.argmax(axis=1))
    return CalibrationResult(**numbers, temperature=result.temperature)


def _mean_curve(curves: Sequence[Sequence[CurveRow]]) -> list[CurvePoint]:
    """The losses averaged over seeds, where all seeds have the step."""
    by_step = [{int(row["step"]): row for row in curve} for curve in curves]
    steps = [step for step in by_step[0] if all(step in curve for curve in by_step)]

    def mean(step: int, name: str) -> float:
        return fmean(curve[step][name] for curve in by_step)

    return [
        CurvePoint(step=step, classification_loss=mean(step, "classification_loss"), lm_loss=mean(step, "lm_loss"))
        for step in steps
    ]


def _speed(results: Sequence[CellResult]) -> SpeedResult | None:
    """The speed at the first seed, with its accuracy."""
    for result in results:
        if result.speed is not None:
            return SpeedResult(**result.speed.model_dump(), accuracy=result.metrics["accuracy"], device=result.device)
    return None


def _comparisons(results: Results, backbone: str, task: str, arm: Arm) -> Iterator[Comparison]:
    for baseline in results.request.baselines_of(arm):
        pairs = results.pairs(task, backbone, baseline, arm.name)
        names = (results.request.study.arm(baseline).in_text, arm.in_text)
        for metric in metrics_of(task) if pairs else ():
            numbers = compare(list(pairs.values()), metric=metric, task=TASKS.get(task), names=names)
            yield Comparison(baseline=baseline, other=arm.name, seeds=list(pairs), p_holm=None, **numbers)


def _corrected(tasks: Sequence[TaskResult]) -> list[TaskResult]:
    """Holm over tasks of each comparison in the task's first metric: one family an arm and baseline."""
    families: dict[tuple[str, str], dict[str, float | None]] = {}
    for task in tasks:
        for comparison in task.comparisons:
            if comparison.metric == task.first_metric:
                families.setdefault((comparison.baseline, comparison.other), {})[str(task.task)] = comparison.p_value
    corrected = {pair: holm(p_values) for pair, p_values in families.items()}

    def with_holm(task: TaskResult, comparison: Comparison) -> Comparison:
        if comparison.metric != task.first_metric:
            return comparison
        return comparison.model_copy(
            update={"p_holm": corrected[comparison.baseline, comparison.other][str(task.task)]}
        )

    return [
        task.model_copy(update={"comparisons": [with_holm(task, comparison) for comparison in task.comparisons]})
        for task in tasks
    ]


def _averages(tasks: Sequence[TaskResult], arms: Sequence[Arm]) -> tuple[dict[str, float], list[str]]:
    """Each arm's mean over tasks of its first metric, as the paper gives it, and the tasks.

    Over the tasks that all arms have, on the same rows, and in each over the seeds that all arms have: another mean
    would compare unlike with unlike.
    """
    wanted = {arm.name for arm in arms}
    whole = [
        task
        for task in tasks
        if {cell.arm for cell in task.arms} == wanted and len({cell.num_rows for cell in task.arms}) == 1
    ]
    values: dict[str, list[float]] = {arm.name: [] for arm in arms}
    averaged = []
    for task in whole:
        by_arm = {
            cell.arm: {result.seed: result.values[task.metrics[0]] for result in cell.seeds} for cell in task.arms
        }
        if common := set.intersection(*(set(by_seed) for by_seed in by_arm.values())):
            averaged.append(str(task.task))
            for name, by_seed in by_arm.items():
                values[name].append(fmean(by_seed[seed] or 0.0 for seed in common))
    return {name: fmean(each) for name, each in values.items() if each}, averaged


def _gains(average: Mapping[str, float], arms: Sequence[Arm]) -> dict[str, float]:
    """Each arm's gain over its first baseline that has an average, in percent of it."""
    first = {arm.name: next((name for name in arm.baselines if average.get(name)), None) for arm in arms}
    return {
        name: 100 * (average[name] / average[baseline] - 1)
        for name, baseline in first.items()
        if baseline is not None and name in average
    }
