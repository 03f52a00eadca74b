"""From a request to the cells of the grid."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from dhrd.config import RunConfig, load_config
from dhrd.data.superglue import TASKS
from dhrd.errors import ConfigError
from dhrd.experiments.cells import Cell, CellDecoding, CellStore
from dhrd.experiments.study import Arm, Grid, Settings, Study
from dhrd.metrics.metrics import higher_is_better, main_metric
from dhrd.training.identity import flat

if TYPE_CHECKING:
    from dhrd.experiments.cache import Cache

logger = logging.getLogger("dhrd")

NUM_FOLDS = 5
NUM_SEEDS = 5
SEED = "{seed}"  # in data.train: rows that differ by seed
_FEW_ROWS = 1000  # below, all five folds take part in a choice; above, one is enough

Choices = Mapping[tuple[str, str, str], Settings]
Candidates = dict[tuple[str, str, str], list[tuple[Settings, list[Cell]]]]
"""For each task, backbone and arm with a grid: every combination of its values, and the cells that judge it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to reproduce.

    Args:
        study: The table or figure.
        base: Settings that all arms share.
        tasks: SuperGLUE tasks; or the one name of the base settings' own data.
        backbones: Names or paths.
        num_seeds: Number of seeds, counting from the base settings' seed; None: as many as in the study.
        arms: Arms of the study.
        grid: Settings to tune for every trained arm separately, by dotted name.
        num_judges: Folds that take part in a choice; None: all five below 1,000 rows, above one.
        decoding: Decoding settings for arms that decode.
        output_dir: Directory of `cells/` and the report.
    """

    study: Study
    base: RunConfig
    tasks: tuple[str, ...]
    backbones: tuple[str, ...]
    num_seeds: int | None
    arms: tuple[Arm, ...]
    grid: Grid = field(default_factory=dict)
    num_judges: int | None = None
    decoding: CellDecoding = field(default_factory=CellDecoding)
    output_dir: Path = Path("reproduce")

    @property
    def store(self) -> CellStore:
        """The finished cells."""
        return CellStore(self.output_dir / "cells")

    def arms_of(self, task: str) -> tuple[Arm, ...]:
        """The arms that are run on a task."""
        condition = self.study.condition(task)
        if condition is None or not condition.arms:
            return self.arms
        return tuple(arm for arm in self.arms if arm.name in condition.arms)

    def baselines_of(self, arm: Arm) -> tuple[str, ...]:
        """The requested arms that an arm is compared with."""
        asked = {other.name for other in self.arms}
        return tuple(name for name in arm.baselines if name in asked)

    def grid_of(self, arm: Arm) -> Grid:
        """What is chosen for an arm: nothing that makes it the arm that it is."""
        asked = {name: values for name, values in self.grid.items() if name not in arm.settings}
        return {**(asked if arm.trained else {}), **arm.grid}


def own_data(base: RunConfig) -> str | None:
    """The name of the settings' own data: a file's, or the generator's; None where the tasks are SuperGLUE's."""
    spec = base.data.train or "superglue:"
    kind, _, rest = spec.partition(":")
    if kind == "superglue":
        return None
    if rest and kind != "hub" and kind.isidentifier():
        return kind
    name = Path(rest or spec).stem.replace(SEED, "").rstrip("-_").removesuffix("_train") or "data"
    return f"{name}_rows" if name in TASKS else name  # which would be scored as the task


def file_name(task: str) -> str:
    """What `{task}` stands for: own rows that are named as a SuperGLUE task are called otherwise in tables alone."""
    name = task.removesuffix("_rows")
    return name if name in TASKS else task


def cell_config(
    request: Request, task: str, backbone: str, arm: Arm, seed: int, chosen: Settings | None = None
) -> RunConfig:
    """All settings of a cell: the base's, the task's, the arm's and the seed, also where `data.train` names it.

    Raises:
        ConfigError: They contradict each other.
    """
    data: dict[str, JsonValue] = {}
    condition = request.study.condition(task)
    if own_data(request.base) is not None:
        data = {"data.train": request.base.data.train}
    elif condition is None:  # whichever task the settings name: each has its own rows
        spec, given = f"superglue:{task}", request.base.data.validation or "superglue:"
        data = {"data.train": spec, "data.validation": spec if given.startswith("superglue:") else given}
    if condition is not None:
        data |= left_open(condition.settings, request.base)
    if request.base.data.rationales is not None:
        data["data.rationales"] = request.base.data.rationales.replace("{task}", file_name(task))
    if "data.train" in data:
        data["data.train"] = str(data["data.train"]).replace(SEED, str(seed))
    settings = {"model.name_or_path": backbone, **data, **arm.settings, **(chosen or {}), "seed": seed}
    return with_settings(request.base, settings)


def left_open(settings: Settings, base: RunConfig) -> dict[str, JsonValue]:
    """Those of the settings that the base does not give."""
    given = flat(base.model_dump(mode="json", exclude_unset=True))
    return {name: value for name, value in settings.items() if name not in given}


def with_settings(base: RunConfig, settings: Settings) -> RunConfig:
    """Settings with some of them replaced, by dotted name.

    Raises:
        ConfigError: One is unknown, or they contradict each other.
    """
    replaced: dict[str, Any] = {name.replace(".", "__"): value for name, value in settings.items()}
    return load_config(base=base, **replaced)


def choice_cells(request: Request, cache: Cache) -> Candidates:
    """The choices to make, and their candidates."""
    candidates: Candidates = {}
    asked = itertools.product(request.tasks, request.backbones)
    for task, backbone, arm in [(*pair, arm) for pair in asked for arm in request.arms_of(pair[0])]:
        tried = request.grid_of(arm)
        if not tried:
            continue
        points = [dict(zip(tried, values, strict=True)) for values in itertools.product(*tried.values())]
        candidates[task, backbone, arm.name] = [
            (point, list(_judges(request, cache, task, backbone, arm, point))) for point in points
        ]
    return candidates


def _judges(request: Request, cache: Cache, task: str, backbone: str, arm: Arm, point: Settings) -> Iterator[Cell]:
    config = cell_config(request, task, backbone, arm, request.base.seed, point)
    rows = cache.rows(config)
    for fold in range(request.num_judges or (NUM_FOLDS if len(rows.train) < _FEW_ROWS else 1)):
        yield _cell(request, cache, task, arm, config, (fold, NUM_FOLDS))


def _cell(
    request: Request, cache: Cache, task: str, arm: Arm, config: RunConfig, fold: tuple[int, int] | None = None
) -> Cell:
    return Cell(
        task=task,
        arm=arm,
        config=config,
        rows_hash=cache.rows_hash(config),
        weights_hash=cache.weights_hash(arm.encoder or config.model.name_or_path),
        decoding=request.decoding,
        fold=fold,
    )


def choose(request: Request, candidates: Sequence[tuple[Settings, list[Cell]]]) -> Settings | None:
    """The combination with the best mean over its folds; the earlier of equals; None while a cell is missing.

    One that diverges on a fold loses.
    """
    best: tuple[float, Settings] | None = None
    for point, cells in candidates:
        if any(request.store.diverged(cell) for cell in cells):
            continue
        results = [result for cell in cells if (result := request.store.find(cell)) is not None]
        if len(results) < len(cells):
            return None
        metric = metric_of_choice(cells[0])
        value = fmean(result.metrics[metric] for result in results)
        value = value if higher_is_better(metric) else -value
        if best is None or value > best[0]:
            best = (value, point)
    return best[1] if best else None


def metric_of_choice(cell: Cell) -> str:
    """The metric that settings are chosen by."""
    return cell.config.training.metric or main_metric(TASKS.get(cell.task))


def final_cells(request: Request, cache: Cache, choices: Choices) -> list[Cell]:
    """The cells of the table itself. Arms whose choice is not made yet are left out.

    Raises:
        ConfigError: Rows that differ by seed differ in their labels.
    """
    cells = []
    for backbone, task, seed, arm in planned(request):
        key = (task, backbone, arm.name)
        if request.grid_of(arm) and key not in choices:
            continue
        config = cell_config(request, task, backbone, arm, seed, choices.get(key))
        _check_labels(request, cache, task, backbone, arm, config)
        cells.append(_cell(request, cache, task, arm, config))
    return cells


def _check_labels(request: Request, cache: Cache, task: str, backbone: str, arm: Arm, config: RunConfig) -> None:
    """Refuse rows that differ by seed in their labels: such seeds cannot be compared.

    Raises:
        ConfigError: Naming the seeds and what they have.
    """
    first = request.base.seed
    if SEED not in str(request.base.data.train) or config.seed == first:
        return
    reference = cache.labels(cell_config(request, task, backbone, arm, first))
    ours = cache.labels(config)
    if set(ours.names) != set(reference.names):
        raise ConfigError(
            f"data.train: the labels of seed {config.seed} are {', '.join(ours.names)}, those of seed {first} "
            f"{', '.join(reference.names)}; give all of them as `data.labels`"
        )


def planned(request: Request) -> Iterator[tuple[str, str, int, Arm]]:
    """Backbone, task, seed and arm of every cell of the table, in the order in which they are run: pairs together."""
    for backbone, task in itertools.product(request.backbones, request.tasks):
        for seed, arm in itertools.product(seeds(request, task), request.arms_of(task)):
            yield backbone, task, seed, arm


def seeds(request: Request, task: str) -> range:
    """The seeds of a task."""
    condition = request.study.condition(task)
    number = request.num_seeds or (condition.num_seeds if condition else NUM_SEEDS)
    return range(request.base.seed, request.base.seed + number)
