"""The directory of a run: where to write, and where to go on."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dhrd._text import shown
from dhrd.config import RunConfig, resolve
from dhrd.config.published import published, recorded
from dhrd.errors import CheckpointError, ConfigError
from dhrd.model.artifact import MANIFEST, library_versions
from dhrd.model.files import saving, write_json
from dhrd.training.checkpoint_files import as_record, find_checkpoint, read_object
from dhrd.training.setup import Precision

logger = logging.getLogger("dhrd")


def prepare_output(config: RunConfig, checkpoint: str | Path | None, *, overwrite: bool) -> tuple[Path, Path | None]:
    """Decide where to write and where to go on; nothing is written yet.

    Returns:
        (output_dir, the checkpoint to go on from, or None).

    Raises:
        ConfigError: output_dir is not empty and neither `--checkpoint` nor `--overwrite` was given.
        CheckpointError: The run there is of another config, or the checkpoint is not there.
    """
    output_dir, start = Path(config.output_dir), None
    if checkpoint is not None:
        output_dir, start = find_checkpoint(Path(checkpoint))
        found = read_run(output_dir)
        if found is not None:
            _check_same(found, config, output_dir)
        if start is None and not (output_dir / MANIFEST).is_file():
            logger.warning("%s: no whole checkpoint yet; starting over", output_dir)
    elif output_dir.is_dir() and any(output_dir.iterdir()) and not overwrite:
        raise ConfigError(
            f"output_dir: {output_dir} is not empty; go on with --checkpoint {output_dir}, replace it with "
            "--overwrite, or give another --set output_dir=…"
        )
    return output_dir, start


def start_run(output_dir: Path, config: RunConfig, precision: Precision, *, fresh: bool) -> None:
    """Make the directory a run's, once all that the user gave is known to work: what was there is lost only then.

    Args:
        output_dir: Created where absent.
        config: Written beside the checkpoints, for `--checkpoint` without `--config`.
        precision: Written too: the run keeps it when it goes on.
        fresh: Begin at the first step: an older artifact and older checkpoints are removed.

    Raises:
        SaveError: The directory is not writable.
    """
    checkpoints = output_dir / "checkpoints"
    with saving(str(output_dir)):
        if fresh:
            (output_dir / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(checkpoints, ignore_errors=True)
        checkpoints.mkdir(parents=True, exist_ok=True)
        write_json(checkpoints / "run.json", run_record(config, precision) | {"config": recorded(config)})


def read_run(output_dir: Path) -> RunConfig | None:
    """The config that a run in a directory was started with; None where there is none.

    Raises:
        CheckpointError: run.json is damaged.
    """
    paths = [output_dir / "run.json", output_dir / "checkpoints" / "run.json"]
    if not (output_dir / MANIFEST).is_file():  # an unfinished run in the place of another
        paths.reverse()
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return None
    config = read_object(path).get("config")
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: damaged (its config is {shown(config)}, no object)")
    return resolve(config, source=str(path))


def read_precision(output_dir: Path) -> Precision | None:
    """The precision that the unfinished run in a directory began with; None where none is known.

    Raises:
        CheckpointError: run.json is damaged.
    """
    path = output_dir / "checkpoints" / "run.json"
    found = read_object(path).get("precision") if path.is_file() else None
    return None if found is None else as_record(Precision, found, path)


def run_record(config: RunConfig, precision: Precision) -> dict[str, Any]:
    """An artifact's run.json: the resolved config, the seed, the precision and what decided it, the libraries."""
    return {
        "config": published(config),
        "seed": config.seed,
        "precision": asdict(precision),
        "versions": library_versions(),
    }


_FREE = {"output_dir", "tracking", "teacher"}  # may differ between a run and its continuation: they decide no weight


def identity(config: RunConfig) -> dict[str, Any]:
    """What must be equal for a run to go on."""
    return {name: value for name, value in recorded(config).items() if name not in _FREE}


def _check_same(found: RunConfig, config: RunConfig, output_dir: Path) -> None:
    theirs, ours = flat(identity(found)), flat(identity(config))
    odd = [
        f"{name}: {shown(theirs.get(name))} there, {shown(ours.get(name))} now"
        for name in theirs | ours
        if theirs.get(name) != ours.get(name)
    ]
    if odd:
        raise CheckpointError(
            f"--checkpoint {output_dir}: the run there has other settings ({'; '.join(odd)}); "
            "leave --config and --set out to go on with its own, or give another output_dir"
        )


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    result: dict[str, Any] = {}
    for name, value in tree.items():
        result |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return result
