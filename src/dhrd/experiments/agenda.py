"""A pre-registered list of studies, in YAML: what is to be run, in which order, before any of it is known.

    entries:
      - name: cb                       # of --only
        study: main                    # as `dhrd reproduce`
        config: configs/cb.yaml
        set: ["data.superglue_root={data}/superglue", "data.rationales={data}/rationales/{task}.jsonl"]
        tasks: [cb]                    # null: as `dhrd reproduce`
        seeds: 5                       # null: the study's own number
        arms: [pooled, dhrd]           # null: all but the optional
        grid: {training.learning_rate: [3e-5, 1e-4]}
        judges: 1                      # folds that choose; null: as `dhrd reproduce`
        prepare: [{creates: data/x.jsonl, run: [examples/x.py, data/x.jsonl]}]
        output: docs/results/cb        # cells/ and the report; entries may share one
        priority: 1                    # lower first; equals in the order of the list

`{data}` is a folder of this machine: where rows lie is no part of a cell's key, so cells of several machines merge.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from dhrd.config import load_config
from dhrd.config.section import Count, Section
from dhrd.errors import ConfigError
from dhrd.experiments.asked import RequestNames, check_data
from dhrd.experiments.plan import NUM_FOLDS, Request


class Step(Section):
    """Something to run before an entry's rows are there."""

    creates: str
    """A file; where it is, nothing is run. `{data}` is replaced, here as in `run`."""
    run: tuple[str, ...]
    """A Python script and its arguments."""


class Entry(Section):
    """One study with its settings: what one `dhrd reproduce` would run."""

    name: str
    study: str
    config: str | None = None
    set: tuple[str, ...] = ()
    tasks: tuple[str, ...] | None = None
    backbones: tuple[str, ...] | None = None
    seeds: Count | None = None
    arms: tuple[str, ...] | None = None
    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    judges: Annotated[int, Field(ge=1, le=NUM_FOLDS)] | None = None
    prepare: tuple[Step, ...] = ()
    output: str
    priority: float = 0.0

    def request(self, data: Path, overrides: Sequence[str] = ()) -> Request:
        """What the entry asks for.

        Args:
            data: The folder that `{data}` stands for.
            overrides: More `section.key=value`.

        Raises:
            ConfigError: The study or a setting is unknown.
        """
        base = load_config(self.config, [*(override.replace("{data}", str(data)) for override in self.set), *overrides])
        return RequestNames(
            study=self.study,
            base=base,
            tasks=self.tasks,
            backbones=self.backbones,
            num_seeds=self.seeds,
            arms=self.arms,
            grid=[f"{name}={','.join(map(_as_yaml, values))}" for name, values in self.grid.items()],
            num_judges=self.judges,
            output_dir=Path(self.output),
        ).request()

    def ready(self, data: Path, overrides: Sequence[str] = ()) -> Request:
        """The same, once its rows are there.

        Raises:
            ConfigError: They are not, and `prepare` did not make them.
        """
        for step in self.prepare:
            creates, *run = (part.replace("{data}", str(data)) for part in (step.creates, *step.run))
            if Path(creates).exists():
                continue
            if subprocess.run([sys.executable, *run], stdout=subprocess.DEVNULL).returncode != 0:
                raise ConfigError(f"{self.name}: {' '.join(step.run)} failed; it makes {step.creates}")
        request = self.request(data, overrides)
        check_data(request)
        return request


class Agenda(Section):
    """The list."""

    entries: tuple[Entry, ...]

    def chosen(self, names: Sequence[str] = ()) -> list[Entry]:
        """Entries by name, or all, the most urgent first.

        Raises:
            ConfigError: There is none of a name.
        """
        known = [entry.name for entry in self.entries]
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(f"`only` {unknown[0]}: the plan has {', '.join(known)}")
        return sorted(
            (entry for entry in self.entries if not names or entry.name in names), key=lambda entry: entry.priority
        )


def read_agenda(path: Path) -> Agenda:
    """Read a list.

    Raises:
        ConfigError: The file is not there, not YAML, or an entry is wrong.
    """
    try:
        agenda = Agenda.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    names = [entry.name for entry in agenda.entries]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{path}: two entries are named {twice}; give each a name of its own")
    return agenda


def _as_yaml(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
