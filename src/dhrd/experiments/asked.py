"""From the names that a user gives to what is to be reproduced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dhrd._extras import check_vllm
from dhrd._files import expanded
from dhrd.config import RunConfig, load_config
from dhrd.data.superglue import TASKS
from dhrd.errors import ConfigError
from dhrd.experiments import STUDIES
from dhrd.experiments.cells import CellDecoding
from dhrd.experiments.plan import Request, file_name, left_open, own_data, with_settings
from dhrd.experiments.study import Arm, Grid, Study
from dhrd.metrics.metrics import check_metric
from dhrd.model.location import locate
from dhrd.training.identity import flat


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestNames:
    """What makes a `Request`: a study and what it is to be run on, by name.

    None leaves the choice to the study and the settings.

    Args:
        encoder: Takes the place of the encoder in arms that have one.
        grid: `section.key=v1,v2` each.
    """

    study: str
    base: RunConfig
    tasks: Sequence[str] | None = None
    backbones: Sequence[str] | None = None
    num_seeds: int | None = None
    arms: Sequence[str] | None = None
    encoder: str | None = None
    grid: Sequence[str] = ()
    num_judges: int | None = None
    decoding: CellDecoding = field(default_factory=CellDecoding)
    output_dir: Path | None = None

    def request(self) -> Request:
        """What is asked for.

        Raises:
            ConfigError: A name is unknown, the settings have several tasks, or they contradict the study.
        """
        if self.study not in STUDIES:
            raise ConfigError(f"{self.study}: no such study; give one of {', '.join(STUDIES)}")
        if self.base.tasks:  # a cell and its metrics are of one label a row: a missing one would count as wrong
            raise ConfigError(
                f"a study supports a single task, but the settings list {', '.join(self.base.tasks)} under tasks: "
                "leave that out (tasks=null), and give the column of one task's labels as `data.columns.label`"
            )
        study = STUDIES[self.study]
        base = with_defaults(study, self.base)
        return Request(
            study=study,
            base=base,
            tasks=find_conditions(study, base, self.tasks) if study.conditions else find_tasks(base, self.tasks),
            backbones=tuple(map(expanded, self.backbones or (base.model.name_or_path,))),
            num_seeds=self.num_seeds,
            arms=find_arms(study, self.arms, self.encoder),
            grid=read_grid(self.grid),
            num_judges=self.num_judges,
            decoding=self.decoding,
            output_dir=self.output_dir or Path("reproduce") / self.study,
        )


def with_defaults(study: Study, base: RunConfig) -> RunConfig:
    """The user's settings, and the study's own for what they leave open.

    Raises:
        ConfigError: They contradict each other.
    """
    return with_settings(base, left_open(study.settings, base))


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
            raise ConfigError(f"`tasks` {','.join(asked)}: data.train is {base.data.train}; leave one of them out")
        return (own,)
    if base.data.train is not None and not asked:
        return (base.data.train.partition(":")[2],)
    if asked and tuple(asked) != ("all",):
        if unknown := [task for task in asked if task not in TASKS]:
            raise ConfigError(f"`tasks` {unknown[0]}: unknown; give all, or of {', '.join(TASKS)}")
        return tuple(dict.fromkeys(asked))
    root = base.data.superglue_root
    if root is None:
        return tuple(TASKS)  # from the hub
    present = tuple(name for name, task in TASKS.items() if (Path(root) / task.folder / "train.jsonl").is_file())
    if not present:
        raise ConfigError(
            f"data.superglue_root: {root} has no task; it must hold {TASKS['cb'].folder}/train.jsonl and so on"
        )
    return present


def find_conditions(study: Study, base: RunConfig, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The tasks of a study that brings its own: those asked for, else all.

    Raises:
        ConfigError: A task is unknown, or the settings name data.
    """
    known = [condition.name for condition in study.conditions]
    if base.data.train is not None:
        raise ConfigError(f"data.train is {base.data.train}: leave it out, as {study.name} makes its own rows")
    if unknown := [name for name in asked or () if name not in (*known, "all")]:
        raise ConfigError(f"`tasks` {unknown[0]}: {study.name} has {', '.join(known)}")
    return tuple(name for name in known if not asked or "all" in asked or name in asked)


def find_arms(study: Study, asked: Sequence[str] | None, encoder: str | None = None) -> tuple[Arm, ...]:
    """The arms to run, in the study's order: those asked for, or all but the optional; `encoder` instead of theirs.

    Raises:
        ConfigError: The study has no such arm, or an encoder is given and no arm has one.
    """
    known = [arm.name for arm in study.arms]
    if unknown := [name for name in asked or () if name not in known]:
        raise ConfigError(f"`arms` {unknown[0]}: {study.name} has {', '.join(known)}")
    arms = tuple(arm for arm in study.arms if (arm.name in asked if asked else not arm.optional))
    if encoder is None:
        return arms
    if not any(arm.encoder for arm in arms):
        raise ConfigError(
            f"`encoder` {encoder}: no arm of this run has one; run baselines with `arms=pooled,embeddings,encoder`, or "
            "leave it out"
        )
    return tuple(replace(arm, encoder=encoder) if arm.encoder else arm for arm in arms)


_OWN_WAYS = {"seed": "`seeds`", "model.name_or_path": "`backbones`"}
"""Settings that a grid cannot have, as each cell has its own, and what is given instead."""


def read_grid(texts: Sequence[str]) -> Grid:
    """`section.key=v1,v2` as values by dotted name, each value in YAML.

    Raises:
        ConfigError: It is written otherwise, or a setting is unknown or wrong.
    """
    grid = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not values.strip():
            raise ConfigError(f"`grid` {text}: write it as section.key=value,value")
        name = name.strip()
        points = [
            flat(load_config(overrides=[f"{name}={value}"]).model_dump(mode="json")) for value in values.split(",")
        ]
        if any(name not in point for point in points):
            raise ConfigError(f"`grid` {name}: not one setting; give the name that `dhrd config schema` has")
        if name in _OWN_WAYS:
            raise ConfigError(f"`grid` {name}: nothing to choose by training rows; give {_OWN_WAYS[name]}")
        if name in grid:
            raise ConfigError(f"`grid` {name}: given twice; give all its values at once")
        grid[name] = tuple(point[name] for point in points)
    return grid


def check_data(request: Request) -> None:
    """Refuse before anything is run where rows or rationales are not there.

    Raises:
        ConfigError: Naming what is missing, or `training.metric` is none.
        ModelError: An arm's encoder is in a package that is not installed.
    """
    if any(arm.engine == "vllm" for arm in request.arms):
        check_vllm("`arms`")
    metric = request.base.training.metric
    for task in request.tasks if metric is not None else ():
        if metric != "micro_f1" or task in TASKS:  # one's own rows may have several labels
            check_metric(str(metric), TASKS.get(task))
    for arm in request.arms:
        if arm.encoder is not None:
            locate(arm.encoder)
        if arm.read == "decode" and metric == "log_loss" and request.grid_of(arm):
            raise ConfigError(
                f"training.metric: log_loss cannot choose for the arm {arm.name}, whose answers are decoded, without "
                "probabilities; choose by another metric, or leave the arm out"
            )
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
            "`data.rationales=DIR/{task}.jsonl`"
        )
    for task in request.tasks:
        path = Path(spec.replace("{task}", file_name(task)))
        if not path.is_file():
            raise ConfigError(
                f"data.rationales: {path}: no such file, for {task}; add it or leave the task out of `tasks`"
            )


def _learns_reasons(arm: Arm, base: RunConfig) -> bool:
    config = with_settings(base, arm.settings)
    return config.loss.reads_rationales and config.data.rationale_mode != "label_only"
