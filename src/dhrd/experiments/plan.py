"""From what was asked for to the cells of the grid."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from dhrd.config import RunConfig, load_config, resolve
from dhrd.data.superglue import TASKS
from dhrd.errors import ConfigError
from dhrd.evaluation.metrics import higher_is_better, main_metric
from dhrd.experiments.cache import Cache
from dhrd.experiments.cells import Cell, CellStore, Decoding, hash_rows
from dhrd.experiments.study import Arm, Study
from dhrd.inference.vllm_decoder import check_vllm
from dhrd.model.backbone import locate
from dhrd.training.directory import flat

logger = logging.getLogger("dhrd")

NUM_FOLDS = 5
NUM_SEEDS = 5
SEED = "{seed}"  # in data.train: rows that differ by seed
_FEW_ROWS = 1000  # below, all five folds take part in a choice; above, one is enough

Choice = Mapping[str, Any]
Choices = Mapping[tuple[str, str, str], Choice]
Candidates = dict[tuple[str, str, str], list[tuple[Choice, list[Cell]]]]
"""For each task, backbone and arm with a grid: every combination of its values, and the cells that judge it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to reproduce.

    Args:
        study: The table or figure.
        base: Settings that all arms share.
        tasks: SuperGLUE tasks; or the one name of the base settings' own data.
        backbones: Names or paths.
        num_seeds: Seeds from the base settings' on; None: as many as the study asks for.
        arms: Of the study.
        grid: Settings to choose for every trained arm, each at its own best, by dotted name.
        num_judges: Folds that take part in a choice; None: all five below 1,000 rows, above one.
        decoding: For arms that decode.
        output_dir: `cells/` and the report.
    """

    study: Study
    base: RunConfig
    tasks: tuple[str, ...]
    backbones: tuple[str, ...]
    num_seeds: int | None
    arms: tuple[Arm, ...]
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    num_judges: int | None = None
    decoding: Decoding = field(default_factory=Decoding)
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
        """The arms that an arm is compared with, as far as they were asked for."""
        asked = {one.name for one in self.arms}
        return tuple(name for name in arm.baselines if name in asked)

    def grid_of(self, arm: Arm) -> dict[str, tuple[Any, ...]]:
        """What is chosen for an arm."""
        return {**(self.grid if arm.trained else {}), **arm.grid}


def with_defaults(study: Study, base: RunConfig) -> RunConfig:
    """The user's settings, and the study's own for what they leave open.

    Raises:
        ConfigError: They contradict each other.
    """
    ours, theirs = (
        config.model_dump(mode="json", exclude_unset=True) for config in (_with(None, study.settings), base)
    )
    return resolve(_over(ours, theirs))


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {name for name in below if isinstance(below[name], Mapping) and isinstance(above.get(name), Mapping)}
    return {**below, **above, **{name: _over(below[name], above[name]) for name in both}}


def find_tasks(base: RunConfig, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The tasks to run: those asked for; else the one that the settings name; else all that are there.

    Args:
        base: The settings.
        asked: Names of SuperGLUE tasks, or `all` alone.

    Raises:
        ConfigError: A task is unknown, or there is no data at all.
    """
    own = own_data(base)
    if own is not None:
        if asked and tuple(asked) != (own,):
            raise ConfigError(f"--tasks {','.join(asked)}: data.train is {base.data.train}; leave one of the two out")
        return (own,)
    if base.data.train is not None and not asked:
        return (base.data.train.partition(":")[2],)
    if asked and tuple(asked) != ("all",):
        if unknown := [task for task in asked if task not in TASKS]:
            raise ConfigError(f"--tasks {unknown[0]}: unknown; give all, or of {', '.join(TASKS)}")
        return tuple(dict.fromkeys(asked))
    root = base.data.superglue_root
    if root is None:
        return tuple(TASKS)  # from the hub
    found = tuple(name for name, task in TASKS.items() if (Path(root) / task.folder / "train.jsonl").is_file())
    if not found:
        raise ConfigError(
            f"data.superglue_root: {root} has no task; it must hold {TASKS['cb'].folder}/train.jsonl and so on"
        )
    return found


def find_conditions(study: Study, base: RunConfig, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The tasks of a study that brings its own: those asked for, else all.

    Raises:
        ConfigError: A task is unknown, or the settings name data.
    """
    known = [condition.name for condition in study.conditions]
    if base.data.train is not None:
        raise ConfigError(f"data.train is {base.data.train}: leave it out, {study.name} makes its own rows")
    if unknown := [name for name in asked or () if name not in (*known, "all")]:
        raise ConfigError(f"--tasks {unknown[0]}: {study.name} has {', '.join(known)}")
    return tuple(name for name in known if not asked or "all" in asked or name in asked)


def own_data(base: RunConfig) -> str | None:
    """The name of the settings' own data: a file's, or the generator's; None where the tasks are SuperGLUE's."""
    spec = base.data.train or "superglue:"
    kind, _, rest = spec.partition(":")
    if kind == "superglue":
        return None
    if rest and kind != "hub" and kind.isidentifier():
        return kind
    return Path(rest or spec).stem.replace(SEED, "").rstrip("-_").removesuffix("_train") or "data"


def find_arms(study: Study, asked: Sequence[str] | None, encoder: str | None = None) -> tuple[Arm, ...]:
    """The arms to run, in the study's order: those asked for, or all but the optional.

    Args:
        study: Whose arms.
        asked: Their names.
        encoder: Takes the place of the encoder in arms that have one.

    Raises:
        ConfigError: The study has no such arm, or an encoder is given and no arm has one.
    """
    known = [arm.name for arm in study.arms]
    if unknown := [name for name in asked or () if name not in known]:
        raise ConfigError(f"--arms {unknown[0]}: {study.name} has {', '.join(known)}")
    arms = tuple(arm for arm in study.arms if (arm.name in asked if asked else not arm.optional))
    if encoder is None:
        return arms
    if not any(arm.encoder for arm in arms):
        raise ConfigError(
            f"--encoder {encoder}: no arm of this run has one; run baselines with --arms pooled,embeddings,encoder, or "
            "leave it out"
        )
    return tuple(replace(arm, encoder=encoder) if arm.encoder else arm for arm in arms)


def read_grid(texts: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """`section.key=v1,v2` as values by dotted name, each value in YAML.

    Raises:
        ConfigError: It is written otherwise, or a setting is unknown or wrong.
    """
    grid = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not values.strip():
            raise ConfigError(f"--grid {text}: write it as section.key=value,value")
        configs = [load_config(overrides=[f"{name}={value}"]) for value in values.split(",")]
        grid[name.strip()] = tuple(flat(config.model_dump(mode="json"))[name.strip()] for config in configs)
    return grid


def check_data(request: Request) -> None:
    """Refuse before anything is run where rows or rationales are not there.

    Raises:
        ConfigError: Naming what is missing.
        ModelError: An arm's encoder is in a package that is not installed.
    """
    if any(arm.engine == "vllm" for arm in request.arms):
        check_vllm("--arms")
    for arm in request.arms:
        if arm.encoder is not None:
            locate(arm.encoder)
    if request.study.conditions:
        return
    base, learns = request.base, [arm for arm in request.arms if arm.trained and _learns_reasons(arm, request.base)]
    if own_data(base) is not None and base.data.validation is None:
        raise ConfigError("data.validation is not set: cells are evaluated on its rows")
    spec = base.data.rationales
    if not learns or (spec is None and own_data(base) is not None):
        return  # own rows may carry their rationales in a column
    if spec is None:
        raise ConfigError(
            f"the arm {learns[0].name} learns from rationales: give their files with "
            "--set 'data.rationales=DIR/{task}.jsonl'"
        )
    for task in request.tasks:
        path = Path(spec.replace("{task}", task))
        if not path.is_file():
            raise ConfigError(
                f"data.rationales: {path}: no such file, for {task}; add it or leave the task out of --tasks"
            )


def _learns_reasons(arm: Arm, base: RunConfig) -> bool:
    config = _with(base, arm.settings)
    return config.loss.reads_rationales and config.data.rationale_mode != "label_only"


def cell_config(
    request: Request, task: str, backbone: str, arm: Arm, seed: int, chosen: Mapping[str, Any] | None = None
) -> RunConfig:
    """All settings of a cell: the base's, the task's, the arm's and the seed, also where `data.train` names it.

    Raises:
        ConfigError: They contradict each other.
    """
    data: dict[str, Any] = {}
    if (condition := request.study.condition(task)) is not None:
        given = flat(request.base.model_dump(mode="json", exclude_unset=True))
        data = {name: value for name, value in condition.settings.items() if name not in given}
    elif own_data(request.base) is None:
        data = {"data.train": f"superglue:{task}", "data.validation": f"superglue:{task}"}
    if request.base.data.rationales is not None:
        data["data.rationales"] = request.base.data.rationales.replace("{task}", task)
    elif request.base.data.train is not None:
        data = {"data.train": request.base.data.train}
    if "data.train" in data:
        data["data.train"] = data["data.train"].replace(SEED, str(seed))
    settings = {"model.name_or_path": backbone, **data, **arm.settings, **(chosen or {}), "seed": seed}
    return _with(request.base, settings)


def _with(base: RunConfig | None, settings: Mapping[str, Any]) -> RunConfig:
    return load_config(base=base, **{name.replace(".", "__"): value for name, value in settings.items()})


def choice_cells(request: Request, cache: Cache) -> Candidates:
    """What is to be chosen, and from what."""
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


def _judges(request: Request, cache: Cache, task: str, backbone: str, arm: Arm, point: Choice) -> Iterator[Cell]:
    config = cell_config(request, task, backbone, arm, request.base.seed, point)
    rows = cache.rows(config)
    for fold in range(request.num_judges or (NUM_FOLDS if len(rows.train) < _FEW_ROWS else 1)):
        yield Cell(
            task=task,
            arm=arm,
            config=config,
            rows_hash=hash_rows(rows, config),
            decoding=request.decoding,
            fold=(fold, NUM_FOLDS),
        )


def choose(request: Request, candidates: Sequence[tuple[Choice, list[Cell]]]) -> Choice | None:
    """The combination with the best mean over its folds; the earlier of equals; None while a cell is missing."""
    best: tuple[float, Choice] | None = None
    for point, cells in candidates:
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
    """What settings are chosen by."""
    return cell.config.training.metric or main_metric(TASKS.get(cell.task))


def final_cells(request: Request, cache: Cache, choices: Choices) -> list[Cell]:
    """The cells of the table itself. Arms whose choice is not made yet are left out."""
    cells = []
    for backbone, task, seed, arm in planned(request):
        key = (task, backbone, arm.name)
        if request.grid_of(arm) and key not in choices:
            continue
        config = cell_config(request, task, backbone, arm, seed, choices.get(key))
        rows_hash = hash_rows(cache.rows(config), config)
        cells.append(Cell(task=task, arm=arm, config=config, rows_hash=rows_hash, decoding=request.decoding))
    return cells


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
