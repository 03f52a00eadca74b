"""Which settings hold when an artifact is used."""

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
    """The config file's settings, or else those of the artifact's run, with `--set` over them."""
    return load_config(config, overrides or (), base=settings_of(directory) if config is None else None)


def check_inputs(directory: Path, spec: Any, settings: RunConfig, *, split: str, labels_required: bool = True) -> None:
    """Refuse an artifact or rows that are not what they should be before torch is loaded, which takes seconds.

    Args:
        directory: Of the artifact, whose template reads the rows.
        spec: As `--data`; None: no rows are looked at.
        settings: Their columns.
        split: Of `superglue:` and its like.
        labels_required: Whether each row must have a label.

    Raises:
        ArtifactError: The directory is no finished artifact.
        DataError: As `Source.check`.
    """
    info = read_info(directory)
    if spec is not None:
        open_rows(spec, split, settings, info).check(labels_required=labels_required)


def read_by(directory: Path, settings: RunConfig, *specs: Any) -> Iterator[Path]:
    """What a command reads that uses an artifact: its files, the run's own data, the settings' data, and the specs'."""
    yield from model_files(directory)
    for one in (settings, read_run(directory) or settings):
        yield from inputs_of(one, *specs, one.data.rationales)
