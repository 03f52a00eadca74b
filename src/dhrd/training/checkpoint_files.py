"""The files of checkpoints: finding and reading them, and checking them against their recorded digests."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from dhrd._files import write_json
from dhrd._text import message_of, shown
from dhrd.errors import CheckpointError
from dhrd.training.position import Position

logger = logging.getLogger("dhrd")

_STATE = "state.json"
_NAME = re.compile(r"step-(\d+)")
T = TypeVar("T")


def write_state(directory: Path, position: Position, identity: Mapping[str, object]) -> None:
    """Write state.json, the last file of a checkpoint: where the run stands, and a digest of each file."""
    state: dict[str, object] = {"position": asdict(position), "identity": identity, "files": _digests(directory)}
    write_json(directory / _STATE, state | {"digest": _digest_of(state)})


def read_state(directory: Path) -> tuple[Position, object]:
    """The position and identity of a checkpoint, after checking that its files are unchanged.

    Raises:
        CheckpointError: A file is missing, changed, or not readable.
    """
    path = directory / _STATE
    state = read_object(path)
    digest = state.pop("digest", None)
    if digest is None or digest != _digest_of(state):
        raise CheckpointError(f"{path}: damaged (it differs from its digest)")
    given, digests = state.get("files"), _digests(directory)
    written = given if isinstance(given, dict) else {}
    if odd := sorted(name for name in digests | written if digests.get(name) != written.get(name)):
        raise CheckpointError(f"{directory / odd[0]}: missing or damaged (it differs from its digest)")
    position, named = as_record(Position, state.get("position"), path), _NAME.fullmatch(directory.name)
    if named and int(named[1]) != position.step:
        raise CheckpointError(f"{path}: damaged (step {position.step} is not a position of {directory.name})")
    return position, state.get("identity")


def best_weights(directory: Path, step: int) -> Path:
    """The file with the weights of a run's best evaluation, after so many updates."""
    return directory / f"best-{step:08d}.safetensors"


def best_step_of(checkpoint: Path) -> int | None:
    """The update of the best evaluation until a checkpoint; None: there was none.

    Raises:
        CheckpointError: It cannot be read.
    """
    path = checkpoint / _STATE
    return as_record(Position, read_object(path).get("position"), path).best_step


def read_object(path: Path) -> dict[str, object]:
    """The object in a JSON file of a run.

    Raises:
        CheckpointError: The file does not contain one.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged ({message_of(error)})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: damaged (it contains {shown(value)}, not an object)")
    return value


def as_record(kind: type[T], value: object, path: Path) -> T:
    """A value of a JSON file as the dataclass that it was written from.

    Raises:
        CheckpointError: It has other fields, or a value of another type.
    """
    try:
        if not isinstance(value, dict) or set(value) - {field.name for field in fields(kind)}:  # type: ignore[arg-type]
            raise ValueError
        return TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged ({shown(value)} is not a {kind.__name__.lower()})") from error


def whole_checkpoints(directory: Path) -> list[Path]:
    """The finished checkpoints in a directory, oldest first."""
    whole = [path for path in directory.glob("step-*") if _NAME.fullmatch(path.name) and (path / _STATE).is_file()]
    return sorted(whole, key=lambda path: path.name)


def run_directory(given: Path) -> Path:
    """The `output_dir` of the run named by a path: that directory itself, or a checkpoint in it.

    Raises:
        CheckpointError: The path does not exist.
    """
    if os.path.isfile(given / _STATE):
        return given.resolve().parent.parent
    if not os.path.isdir(given):
        raise CheckpointError(f"`checkpoint` {given}: no such directory; give a run's output_dir or a checkpoint in it")
    return given.parent if given.name == "checkpoints" else given


def find_checkpoint(given: Path) -> Path | None:
    """The checkpoint to resume from, given a run's `output_dir` or the checkpoint itself; None: there is none yet.

    If the newest one is damaged, the one before it is used, with a log line.

    Raises:
        CheckpointError: The path does not exist, or all checkpoints are damaged.
    """
    output_dir = run_directory(given)
    if os.path.isfile(given / _STATE):
        return given
    damage: CheckpointError | None = None
    for path in reversed(whole_checkpoints(output_dir / "checkpoints")):
        try:
            read_state(path)
        except CheckpointError as error:
            damage = error
            logger.warning("%s; trying the previous checkpoint", error)
        else:
            return path
    if damage is not None:
        raise CheckpointError(f"{output_dir}: there is no complete checkpoint; start the run again ({damage})")
    return None


def remove_checkpoints(directory: Path) -> None:
    """Remove all checkpoints with the run's record, and the directory if nothing else is left in it."""
    remove_saved(directory)
    (directory / "run.json").unlink(missing_ok=True)
    with suppress(OSError):
        directory.rmdir()


def remove_saved(directory: Path) -> None:
    """Remove all checkpoints, but not the record of the run that is to write others there."""
    for path in directory.glob("step-*"):
        if _NAME.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
    remove_partial(directory)
    for path in directory.glob("best*.safetensors"):
        path.unlink(missing_ok=True)


def remove_partial(directory: Path) -> None:
    """Remove checkpoints that were interrupted while being written."""
    for path in directory.glob(".partial-*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digests(directory: Path) -> dict[str, str]:
    return {path.name: digest(path) for path in sorted(directory.iterdir()) if path.name != _STATE and path.is_file()}


def _digest_of(state: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
