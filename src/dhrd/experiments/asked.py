"""From the names that a user gives to what is to be reproduced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dhrd.config import RunConfig
from dhrd.errors import ConfigError
from dhrd.experiments import STUDIES
from dhrd.experiments.cells import Decoding
from dhrd.experiments.plan import Request, find_arms, find_conditions, find_tasks, read_grid, with_defaults


def make_request(
    study: str,
    base: RunConfig,
    *,
    tasks: Sequence[str] | None = None,
    backbones: Sequence[str] | None = None,
    num_seeds: int | None = None,
    arms: Sequence[str] | None = None,
    encoder: str | None = None,
    grid: Sequence[str] = (),
    num_judges: int | None = None,
    decoding: Decoding | None = None,
    output_dir: Path | None = None,
) -> Request:
    """A study by its name, and what it is to be run on; None leaves the choice to the study and the settings.

    Raises:
        ConfigError: A name is unknown, or the settings contradict the study.
    """
    if study not in STUDIES:
        raise ConfigError(f"{study}: no such study; give one of {', '.join(STUDIES)}")
    found = STUDIES[study]
    base = with_defaults(found, base)
    return Request(
        study=found,
        base=base,
        tasks=find_conditions(found, base, tasks) if found.conditions else find_tasks(base, tasks),
        backbones=tuple(backbones or (base.model.name_or_path,)),
        num_seeds=num_seeds,
        arms=find_arms(found, arms, encoder),
        grid=read_grid(grid),
        num_judges=num_judges,
        decoding=decoding or Decoding(),
        output_dir=output_dir or Path("reproduce") / study,
    )
