"""The settings that apply when an artifact is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dhrd.artifact.info import read_info
from dhrd.artifact.owned import inputs_of, model_files
from dhrd.config import RunConfig, load_config
from dhrd.run.rows import open_rows, settings_of
from dhrd.training.run_dir import read_run


def inference_config(directory: Path, config: Path | None, overrides: Sequence[str] | None) -> RunConfig:
    """The settings of the config file or, without one, of the artifact's run, overridden by `--set`."""
    return load_config(config, overrides or (), base=settings_of(directory) if config is None else None)


def check_inputs(directory: Path, spec: Any, settings: RunConfig, *, split: str, labels_required: bool = True) -> None:
    """Refuse an invalid artifact or invalid rows before loading torch, which takes seconds.

    Args:
        directory: The artifact, whose template reads the rows.
        spec: The value of `--data`; None: check no rows.
        settings: Their column names.
        split: The split, for `superglue:` and similar sources.
        labels_required: Whether each row must have a label.

    Raises:
        ArtifactError: The directory is not a finished artifact.
        DataError: See `Source.check`.
    """
    info = read_info(directory)
    if spec is not None:
        open_rows(spec, split, settings, info).check(labels_required=labels_required)


def read_by(directory: Path, settings: RunConfig, *specs: Any) -> Iterator[Path]:
    """The files that a command using an artifact reads: the artifact, and the data of its run, settings and specs."""
    yield from model_files(directory)
    for one in (settings, read_run(directory) or settings):
        yield from inputs_of(one, *specs, one.data.rationales)
