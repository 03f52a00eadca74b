"""Which settings hold when an artifact is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dhrd.config import RunConfig, load_config
from dhrd.training.directory import read_run


def inference_config(directory: Path, config: Path | None, overrides: Sequence[str] | None) -> RunConfig:
    """The config file's settings, or else the training run's own, with `--set` over them."""
    return load_config(config, overrides or (), base=read_run(directory))
