"""The directory of a run: where to write, and where to go on."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dhrd._files import RESUME, holds_nothing, locked, saving, writing
from dhrd._outputs import Output, check_outputs
from dhrd._text import shown
from dhrd._versions import library_versions
from dhrd.artifact.info import MANIFEST, read_info
from dhrd.artifact.owned import inputs_of, model_files, wrote
from dhrd.config import RunConfig, resolve
from dhrd.config.published import UNPUBLISHED, published, recorded
from dhrd.errors import CheckpointError, ConfigError
from dhrd.training.checkpoint_files import (
    as_record,
    find_checkpoint,
    read_object,
    remove_checkpoints,
    remove_saved,
    run_directory,
    whole_checkpoints,
)
from dhrd.training.identity import identity, identity_differences

if TYPE_CHECKING:
    from dhrd.training.setup import Precision

logger = logging.getLogger("dhrd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run writes.

    Args:
        output_dir: Where the artifact is written.
        goes_on: Whether a run was started there before.
        start: The checkpoint to resume from; None: from the beginning.
        is_finished: Whether there is nothing left to do.
    """

    output_dir: Path
    goes_on: bool = False
    start: Path | None = None
    is_finished: bool = False


def prepare_output(config: RunConfig, checkpoint: str | Path | None, *, overwrite: bool, held: ExitStack) -> Place:
    """Decide where to write and where to resume; only the lock is written.

    Args:
        config: The run's config.
        checkpoint: Resume the run in this directory, or from one checkpoint in it.
        overwrite: Replace an earlier run of this library.
        held: Receives the lock on output_dir, if there is something to do.

    Raises:
        ConfigError: output_dir is not empty and neither `checkpoint` nor `overwrite` was given; or it holds no run
            of this library, or an input of this run; or another training is using it; or `checkpoint` is elsewhere.
        CheckpointError: No run was started there, it has another config, or the checkpoint does not exist.
        ArtifactError: The run is finished, but its manifest is damaged.
    """
    if checkpoint is not None:
        output_dir = run_directory(Path(checkpoint))
        started = started_run(Path(checkpoint))
        _check_stays(started, config, output_dir)
        if started is not None:
            check_same_settings(started, config, output_dir)
        if (output_dir / MANIFEST).is_file():
            read_info(output_dir)  # a damaged run is not finished, and only its checkpoints are left
            _tidy(output_dir)
            return Place(output_dir=output_dir, goes_on=True, is_finished=True)
        held.enter_context(locked(output_dir))
        start = find_checkpoint(Path(checkpoint))  # only now: no checkpoint is being written any more
        if start is None:
            logger.warning("%s: no complete checkpoint yet; starting over", output_dir)
    else:
        output_dir, start = Path(config.output_dir), None
        held.enter_context(locked(output_dir))
        _check_free(output_dir, overwrite=overwrite)
    _check_reads(config, output_dir)
    return Place(output_dir=output_dir, goes_on=checkpoint is not None, start=start)


def check_place(config: RunConfig, checkpoint: Path | None, *, overwrite: bool) -> None:
    """Refuse early what `prepare_output` would refuse; nothing is locked or written.

    Raises:
        ConfigError: As for `prepare_output`, except that another training may be using the directory.
        CheckpointError: No run was started there.
    """
    if checkpoint is not None:
        _check_stays(started_run(checkpoint), config, run_directory(checkpoint))
        return
    output_dir = Path(config.output_dir)
    if os.path.isdir(output_dir):  # no error for a name that the system refuses
        _check_free(output_dir, overwrite=overwrite)
        _check_reads(config, output_dir)


def _check_stays(started: RunConfig | None, config: RunConfig, output_dir: Path) -> None:
    """Refuse to resume a run with another output_dir than its own; that of a run that was moved tells the old one.

    Raises:
        ConfigError: It is another directory.
    """
    asked = config.output_dir
    is_given = "output_dir" in config.model_fields_set and (started is None or asked != started.output_dir)
    if is_given and not _is_same(asked, output_dir):
        raise ConfigError(
            f"`output_dir` {asked}: a run is resumed where it is; leave `output_dir` out, or copy {output_dir} there "
            "and give the copy as `checkpoint`"
        )


def with_place(config: RunConfig, output_dir: Path) -> RunConfig:
    """The config with the directory that is written to, where it names another one: the run was moved."""
    if _is_same(config.output_dir, output_dir):
        return config
    return config.model_copy(update={"output_dir": str(output_dir)})


def _is_same(one: str, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _check_reads(config: RunConfig, output_dir: Path) -> None:
    """Refuse a directory where the artifact would overwrite an input of the run."""
    reads = inputs_of(config, config.data.rationales)
    check_outputs([Output("output_dir", path) for path in model_files(output_dir)], reads)


def started_run(checkpoint: Path) -> RunConfig | None:
    """The config of the run that `checkpoint` names; None if only its artifact or its checkpoints are left.

    Raises:
        CheckpointError: The path does not exist, or no run was started in it.
    """
    output_dir = run_directory(checkpoint)
    started = read_run(output_dir)
    if started is None and not (output_dir / MANIFEST).is_file() and not whole_checkpoints(output_dir / "checkpoints"):
        raise CheckpointError(
            f"`checkpoint` {checkpoint}: no run was started there; give a run's output_dir, or leave `checkpoint` out"
        )
    return started


def _tidy(output_dir: Path) -> None:
    """Remove the checkpoints of a finished run that was killed before removing them itself."""
    checkpoints = output_dir / "checkpoints"
    if checkpoints.is_dir():
        with locked(output_dir):
            remove_checkpoints(checkpoints)


def _check_free(output_dir: Path, *, overwrite: bool) -> None:
    if holds_nothing(output_dir):
        return
    if not overwrite:
        raise ConfigError(
            f"output_dir: {output_dir} is not empty; resume with `checkpoint` {output_dir}, replace it with "
            "`overwrite`, or give another `output_dir`"
        )
    if not wrote(output_dir):
        raise ConfigError(
            f"output_dir: {output_dir} contains files but no run.json or dhrd.json, so it is not a run of dhrd, and "
            "`overwrite` replaces nothing else; give another output_dir"
        )


def start_run(output_dir: Path, config: RunConfig, precision: Precision, *, fresh: bool) -> None:
    """Initialise a run's directory; called only once the user's input has been checked, as old contents are lost.

    Args:
        output_dir: Created if absent.
        config: Saved beside the checkpoints, so that the run can be resumed without giving it again.
        precision: Saved too, as a resumed run keeps it.
        fresh: Start at the first step; an older artifact and older checkpoints are removed.

    Raises:
        SaveError: The directory is not writable; what was there before is intact.
    """
    checkpoints = output_dir / "checkpoints"
    with saving(str(output_dir), RESUME):
        checkpoints.mkdir(parents=True, exist_ok=True)
        with writing(checkpoints / "run.json") as file:
            file.json(run_record(config, precision) | {"config": recorded(config)})
        if fresh:  # only now: until the new record is whole, the old run is, and then this one is what is left
            remove_saved(checkpoints)
            for name in (MANIFEST, "run.json"):  # in this order: without a manifest, the new record counts
                (output_dir / name).unlink(missing_ok=True)


def read_run(output_dir: Path) -> RunConfig | None:
    """The config that a run in a directory was started with; None if there is no run.

    Raises:
        CheckpointError: run.json is damaged.
    """
    output_dir = output_dir.expanduser()
    paths = [output_dir / "run.json", output_dir / "checkpoints" / "run.json"]
    if not os.path.isfile(output_dir / MANIFEST):  # an unfinished run replacing another
        paths.reverse()
    path = next((path for path in paths if os.path.isfile(path)), None)  # no error for any name
    if path is None:
        return None
    config = read_object(path).get("config")
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: damaged (its config is {shown(config)}, not an object)")
    if path.parent == output_dir:  # an artifact's, perhaps of a stranger: it names no servers for this user
        config = {name: value for name, value in config.items() if name not in UNPUBLISHED}
    return resolve(config, source=str(path))


def read_precision(output_dir: Path) -> Precision | None:
    """The precision that the unfinished run in a directory began with; None if unknown.

    Raises:
        CheckpointError: run.json is damaged.
    """
    from dhrd.training.setup import Precision  # loads torch

    path = output_dir / "checkpoints" / "run.json"
    precision = read_object(path).get("precision") if path.is_file() else None
    return None if precision is None else as_record(Precision, precision, path)


def run_record(config: RunConfig, precision: Precision) -> dict[str, object]:
    """An artifact's run.json: the resolved config, the seed, the precision and what decided it, the libraries."""
    return {
        "config": published(config),
        "seed": config.seed,
        "precision": asdict(precision),
        "versions": library_versions(),
    }


def check_same_settings(theirs: RunConfig, config: RunConfig, output_dir: Path) -> None:
    """Refuse to go on with a run that was started with other settings.

    Raises:
        CheckpointError: They differ in what decides the weights.
    """
    if odd := list(identity_differences(identity(theirs), identity(config), "there")):
        only, lines = (f" ({odd[0]})", []) if len(odd) == 1 else ("", odd)
        mend = "leave `config` and `overrides` out to resume with its own, or give another output_dir"
        line = f"`checkpoint` {output_dir}: the run there has other settings{only}; {mend}"
        raise CheckpointError("\n".join([line, *lines]))
