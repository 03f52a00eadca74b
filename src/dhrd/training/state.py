"""Checkpoints: a run killed at any moment goes on to the same final weights.

`accelerate`'s save_state with skip_first_batches does not give this: the rows differ and errors in restoring the
random state are swallowed. Here the position is the plan's (epoch, update), and a failure to restore is an error.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dhrd._files import RESUME, saving, set_modes, sync, write_json
from dhrd.errors import CheckpointError, ModelError
from dhrd.model.dual_head import DualHeadReasoningModel
from dhrd.training.position import Position
from dhrd.training.step import Stepper

if TYPE_CHECKING:
    from accelerate import Accelerator

_NAME = re.compile(r"step-(\d+)$")
_KEEP = 2  # the newest, and the one before it in case the newest turns out damaged


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of one run.

    Args:
        directory: `output_dir/checkpoints`.
        identity: What must be equal to go on: the resolved config's sections and the rows' fingerprint.
    """

    directory: Path
    identity: dict[str, Any]

    def save(self, stepper: Stepper, model: DualHeadReasoningModel, position: Position) -> None:
        """Write a checkpoint; it counts only once it is whole.

        Raises:
            SaveError: A write failed; older checkpoints are intact.
        """
        accelerator = stepper.accelerator
        final = self.directory / f"step-{position.step:08d}"
        partial = self.directory / f".partial-{position.step:08d}"
        with saving(f"the checkpoint {final}", RESUME):
            if accelerator.is_main_process:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
            accelerator.wait_for_everyone()
            _save_objects(_rng_state(), partial / f"rng-{accelerator.process_index}.pt")
            if accelerator.is_main_process:
                _save_tensors(model, partial / "model.safetensors")
                _save_objects(_optimizer_state(stepper), partial / "optimizer.pt")
                write_json(partial / "state.json", {"position": asdict(position), "identity": self.identity})
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                set_modes(partial)
                sync(partial)
                shutil.rmtree(final, ignore_errors=True)
                os.replace(partial, final)
                self._remove_old()
        accelerator.wait_for_everyone()

    def save_best(self, model: DualHeadReasoningModel, accelerator: Accelerator) -> None:
        """Keep the weights of the best evaluation so far.

        Raises:
            SaveError: A write failed; the best weights before these are intact.
        """
        if not accelerator.is_main_process:
            return
        with saving("the best checkpoint", RESUME):
            self.directory.mkdir(parents=True, exist_ok=True)
            partial = self.directory / ".partial-best.safetensors"
            _save_tensors(model, partial)
            set_modes(partial)
            os.replace(partial, self.directory / "best.safetensors")

    def load_best(self, model: DualHeadReasoningModel) -> None:
        """Put the best weights back into the model.

        Raises:
            CheckpointError: They are missing or damaged.
        """
        _load_tensors(model, self.directory / "best.safetensors")

    def restore(self, path: Path, stepper: Stepper, model: DualHeadReasoningModel) -> Position:
        """Put a checkpoint back: weights, optimizer, schedule, random state.

        Raises:
            CheckpointError: It is of another config or other rows (naming what differs), or damaged.
        """
        position, identity = _read_state(path)
        if differing := _differences(identity, self.identity):
            raise CheckpointError(f"{path} is of another run; these differ: {'; '.join(differing)}")
        _load_tensors(model, path / "model.safetensors")
        try:
            rng = path / f"rng-{stepper.accelerator.process_index}.pt"
            _restore_optimizer(stepper, torch.load(path / "optimizer.pt", weights_only=True, map_location="cpu"))
            _restore_rng(torch.load(rng, weights_only=True, map_location="cpu"))
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).partition("\n")[0]
            raise CheckpointError(f"{path}: damaged ({reason}); remove it to go on from the one before it") from error
        return position

    def remove(self, accelerator: Accelerator) -> None:
        """Training is done: the artifact has taken the checkpoints' place."""
        if accelerator.is_main_process:
            remove_checkpoints(self.directory)
        accelerator.wait_for_everyone()

    def _remove_old(self) -> None:
        for path in whole_checkpoints(self.directory)[:-_KEEP]:
            shutil.rmtree(path)
        _remove_partial(self.directory)


def remove_checkpoints(directory: Path) -> None:
    """Remove all checkpoints, and the directory where nothing of anyone else's is in it."""
    for path in directory.glob("step-*"):
        if _NAME.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
    _remove_partial(directory)
    for name in ("best.safetensors", "run.json"):
        (directory / name).unlink(missing_ok=True)
    with suppress(OSError):
        directory.rmdir()


def _remove_partial(directory: Path) -> None:
    for path in directory.glob(".partial-*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def whole_checkpoints(directory: Path) -> list[Path]:
    """The finished checkpoints in a directory, oldest first."""
    found = [path for path in directory.glob("step-*") if _NAME.search(path.name) and (path / "state.json").is_file()]
    return sorted(found, key=lambda path: path.name)


def find_checkpoint(given: Path) -> tuple[Path, Path | None]:
    """What `--checkpoint` names: a run's `output_dir`, or one checkpoint in it.

    Returns:
        (output_dir, the checkpoint to go on from); None where there is none yet.

    Raises:
        CheckpointError: The path is not there.
    """
    if (given / "state.json").is_file():
        return given.resolve().parent.parent, given
    if not given.is_dir():
        raise CheckpointError(f"--checkpoint {given}: no such directory; give a run's output_dir or a checkpoint in it")
    directory = given if given.name == "checkpoints" else given / "checkpoints"
    newest = whole_checkpoints(directory)
    return directory.parent, newest[-1] if newest else None


def _read_state(path: Path) -> tuple[Position, dict[str, Any]]:
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        return Position(**state["position"]), state["identity"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a whole checkpoint ({error})") from error


def _differences(theirs: Any, ours: Any, name: str = "") -> list[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = sorted(theirs.keys() | ours.keys())
        return [d for key in keys for d in _differences(theirs.get(key), ours.get(key), f"{name}.{key}".lstrip("."))]
    return [] if theirs == ours else [f"{name}: {theirs!r} in the checkpoint, {ours!r} now"]


def _save_tensors(model: DualHeadReasoningModel, path: Path) -> None:
    save_file({name: tensor.cpu().contiguous() for name, tensor in model.trained_state().items()}, path)


def _save_objects(value: dict[str, Any], path: Path) -> None:
    try:
        torch.save(value, path)
    except RuntimeError as error:  # how its zip writer reports a failed write
        raise OSError(errno.EIO, "the disk is full, or failing") from error


def _load_tensors(model: DualHeadReasoningModel, path: Path) -> None:
    try:
        model.load_trained_state(load_file(path))
    except (OSError, SafetensorError, ModelError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: missing or damaged ({error}); remove the checkpoint to go on from another"
        ) from error


def _optimizer_state(stepper: Stepper) -> dict[str, Any]:
    state = {"optimizer": stepper.optimizer.state_dict()}
    if stepper.schedule is not None:
        state["schedule"] = stepper.schedule.state_dict()
    if stepper.accelerator.scaler is not None:
        state["scaler"] = stepper.accelerator.scaler.state_dict()
    return state


def _restore_optimizer(stepper: Stepper, state: dict[str, Any]) -> None:
    stepper.optimizer.load_state_dict(state["optimizer"])
    if stepper.schedule is not None:
        stepper.schedule.load_state_dict(state["schedule"])
    if stepper.accelerator.scaler is not None:
        stepper.accelerator.scaler.load_state_dict(state["scaler"])


def _rng_state() -> dict[str, Any]:
    version, internal, gauss = random.getstate()
    kind, keys, *rest = numpy.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": [version, list(internal), gauss],
        "numpy": [kind, torch.from_numpy(numpy.asarray(keys, dtype="int64")), *rest],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def _restore_rng(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    numpy.random.set_state((kind, keys.numpy().astype("uint32"), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])
