"""What a report holds: the shape of its JSON. Whatever is missing or null is None or empty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from dhrd._text import escaped
from dhrd.experiments.study import Settings
from dhrd.metrics.compare import is_over_rows

FORMAT_VERSION = 1


def _finite(value: int | float | None) -> int | float | None:
    return value if value is not None and math.isfinite(value) else None


Number = Annotated[int | float | None, AfterValidator(_finite)]
"""None where there is none, or NaN."""
Interval = tuple[float, float]
"""Low and high end."""


class Record(BaseModel):
    """Part of a report."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_missing(cls, given: Any) -> Any:
        """A null takes a field's default."""
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value is not None or cls._may_be_null(name)}

    @classmethod
    def _may_be_null(cls, name: str) -> bool:
        return name in cls.model_fields and cls.model_fields[name].get_default(call_default_factory=True) is None


class McNemar(Record):
    """McNemar's test on the rows that only one arm has right, at one seed."""

    only_baseline: int | None = None
    only_other: int | None = None
    p_value: Number = None


class Comparison(Record):
    """Two arms on the same rows, other minus baseline; without `num_tasks` of one task in one metric."""

    backbone: str | None = None
    baseline: str = ""
    other: str = ""
    seeds: list[int] = []
    p_holm: Number = None
    metric: str | None = None
    num_tasks: int | None = None
    num_rows: int | None = None
    num_seeds: int | None = None
    difference: Number = None
    interval_95: Interval | None = None
    interval_method: str | None = None
    rows_interval_95: Interval | None = None
    p_value: Number = None
    seed_differences: list[Number] | None = None
    smallest_told: Number = None
    mcnemar: list[McNemar] = []
    verdict: str | None = None

    @property
    def is_told(self) -> bool:
        """Whether the interval is on one side of zero."""
        return self.interval_95 is not None and (self.interval_95[0] > 0 or self.interval_95[1] < 0)

    @property
    def is_over_rows(self) -> bool:
        """Whether its interval is the rows', as all of a few seeds have the same difference."""
        return is_over_rows(self.num_seeds or 0, self.interval_95, self.rows_interval_95)


class Bin(Record):
    """A bin of confidences."""

    low: float = 0.0
    high: float = 1.0
    confidence: Number = None
    accuracy: Number = None
    count: int = 0


class Coverage(Record):
    """What is wrong among the rows that are answered at a threshold."""

    coverage: Number = None
    risk: Number = None
    threshold: Number = None


class CalibrationResult(Record):
    """As `evaluation.calibration.calibration` gives it, with what the logits were divided by."""

    ece: Number = None
    brier: Number = None
    log_loss: Number = None
    reliability: list[Bin] = []
    risk_coverage: list[Coverage] = []
    aurc: Number = None
    temperature: Number = None


class CurvePoint(Record):
    """The training losses of a step, averaged over seeds."""

    step: int | None = None
    classification_loss: Number = None
    lm_loss: Number = None


class SpeedResult(Record):
    """Queries per second, with the accuracy and the device that belong to it."""

    queries_per_second: Number = None
    min: Number = None
    max: Number = None
    num_queries: int | None = None
    num_repeats: int | None = None
    engine: str | None = None
    mean_new_tokens: Number = None
    unparsable_share: Number = None
    accuracy: Number = None
    device: str | None = None


class SeedResult(Record):
    """The metrics of one seed."""

    seed: int | None = None
    values: dict[str, Number] = {}


class ArmResult(Record):
    """What an arm reaches on a task. Metrics are by name; `selected_on`: its rows also served a choice."""

    arm: str = ""
    title: str | None = None
    num_rows: int | None = None
    seeds: list[SeedResult] = []
    mean: dict[str, Number] = {}
    interval_95: dict[str, Interval | None] = {}
    interval_method: str | None = None
    selected_on: bool = False
    chosen: Settings = {}
    calibration: CalibrationResult | None = None
    seconds: Number = None
    train_tokens: int | None = None
    curve: list[CurvePoint] = []
    speed: SpeedResult | None = None
    unparsable: Number = None
    mean_new_tokens: Number = None


class TaskResult(Record):
    """A task: its rows, what each arm reaches, and how arms compare."""

    task: str | None = None
    factors: dict[str, int | float | None] = {}
    metrics: list[str] = []
    num_validation: int | None = None
    num_train: int | None = None
    num_with_rationale: int | None = None
    majority_share: Number = None
    arms: list[ArmResult] = []
    comparisons: list[Comparison] = []

    @property
    def first_metric(self) -> str | None:
        """The first official metric, which figures and averages show."""
        return self.metrics[0] if self.metrics else None

    def compares_in(self, comparison: Comparison, metric: str | None) -> bool:
        """Whether a comparison is in this metric; one that names none is in the first."""
        return metric is None or (comparison.metric or self.first_metric or metric) == metric


class BackboneResult(Record):
    """The tasks on one backbone; `average` and `relative_gain_percent` are by arm, over the tasks `average_over`."""

    name: str | None = None
    average: Mapping[str, Number] = {}
    average_over: list[str] = []
    relative_gain_percent: Mapping[str, Number] = {}
    over_tasks: list[Comparison] = []
    tasks: list[TaskResult] = []


class Environment(Record):
    """What cells were run on."""

    device: str | None = None
    precision: str | None = None
    threads: int | None = None
    versions: dict[str, str | None] = {}
    num_cells: int | None = None


class TriedSettings(Record):
    """Settings that were tried, with the number that they were chosen by."""

    task: str | None = None
    backbone: str | None = None
    arm: str = ""
    settings: Settings = {}
    metric: str | None = None
    value: Number = None
    num_folds: int | None = None
    diverged: bool = False
    chosen: bool = False
    selected_on: bool = False


class PaperResult(Record):
    """What the paper reports."""

    what: str | None = None
    where: str | None = None
    value: str | None = None


class Undone(Record):
    """A cell that is not finished."""

    cell: str | None = None
    why: str | None = None


class Report(Record):
    """A study's numbers and what can be said of them; `settings` are all arms', `arm_settings` by arm."""

    format_version: int = FORMAT_VERSION
    study: str | None = None
    title: str = "Report"
    question: str | None = None
    answer: str | None = None
    primary: Comparison | None = None
    command: str | None = None
    created: str | None = None
    environments: list[Environment] = []
    backbones: list[BackboneResult] = []
    choices: list[TriedSettings] = []
    paper: list[PaperResult] = []
    undone: list[Undone] = []
    limits: list[str] = []
    settings: Settings = {}
    arm_settings: dict[str, Settings | None] = {}

    def tasks(self) -> Iterator[tuple[BackboneResult, TaskResult]]:
        """Each backbone with each of its tasks."""
        return ((backbone, task) for backbone in self.backbones for task in backbone.tasks)

    def cells(self) -> Iterator[tuple[BackboneResult, TaskResult, ArmResult]]:
        """Each backbone with each of its tasks and each of the task's arms."""
        return ((backbone, task, arm) for backbone, task in self.tasks() for arm in task.arms)

    def to_json(self) -> dict[str, Any]:
        """The report as it was made: what was not given is left out."""
        return self.model_dump(exclude_unset=True)

    def without_controls(self) -> Report:
        """The same report, control characters in its texts as escapes: for pages and terminals."""
        return Report.model_validate(_escaped(self.to_json()))


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, Mapping):
        return {_escaped(key): _escaped(part) for key, part in value.items()}
    return [_escaped(part) for part in value] if isinstance(value, list | tuple) else value
