"""Checkpoints: a run killed at any moment resumes to the same final weights.

`accelerate`'s save_state with skip_first_batches does not ensure this: the rows differ, and errors in restoring the
random state are swallowed. Here the position is the plan's (epoch, update), and a failure to restore is an error.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dhrd._files import RESUME, saving, set_modes, sync
from dhrd._text import message_of
from dhrd.errors import CheckpointError, ModelError, is_out_of_memory
from dhrd.model.dual_head import DualHeadModel
from dhrd.training.checkpoint_files import (
    best_step_of,
    best_weights,
    digest,
    read_state,
    remove_checkpoints,
    remove_partial,
    whole_checkpoints,
    write_state,
)
from dhrd.training.identity import identity_differences
from dhrd.training.position import Position
from dhrd.training.shards import split_like, whole
from dhrd.training.step import TrainState
from dhrd.training.torch_state import optimizer_state, restore_optimizer, restore_rng, rng_state

if TYPE_CHECKING:
    from accelerate import Accelerator

_MEND = "remove the checkpoint to resume from the previous one"
_KEEP = 2  # the newest, and the one before it in case the newest turns out damaged


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of one run.

    Args:
        directory: `output_dir/checkpoints`.
        identity: What must be equal for the run to resume.
    """

    directory: Path
    identity: Mapping[str, object]

    def save(self, state: TrainState, position: Position) -> None:
        """Write a checkpoint; it counts only once it is whole.

        Raises:
            SaveError: A write failed; older checkpoints are intact.
        """
        accelerator = state.accelerator
        final = self.directory / f"step-{position.step:08d}"
        partial = self.directory / f".partial-{position.step:08d}"
        with saving(f"the checkpoint {final}", RESUME), _gone_on_failure(partial):
            if accelerator.is_main_process:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
            accelerator.wait_for_everyone()
            _save_objects(rng_state(accelerator.device), partial / f"rng-{accelerator.process_index}.pt")
            weights = whole(state.model.trained_state(), keep=accelerator.is_main_process)
            moments = whole(optimizer_state(state), keep=accelerator.is_main_process)
            if accelerator.is_main_process:
                _save_tensors(weights, partial / "model.safetensors")
                _save_objects(moments, partial / "optimizer.pt")
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                write_state(partial, position, self.identity)
                set_modes(partial)
                sync(partial)
                shutil.rmtree(final, ignore_errors=True)
                os.replace(partial, final)
                self._remove_old(position.best_step)
        accelerator.wait_for_everyone()

    def save_best(self, state: TrainState, step: int) -> str | None:
        """Keep the weights of the best evaluation so far, beside those that a checkpoint counts as the best.

        Args:
            state: What is trained.
            step: The number of updates so far.

        Returns:
            The digest of their file; None in processes other than the main one.

        Raises:
            SaveError: A write failed; the previous best weights are intact.
        """
        weights = whole(state.model.trained_state(), keep=state.accelerator.is_main_process)
        if not state.accelerator.is_main_process:
            return None
        with saving("the best checkpoint", RESUME):
            self.directory.mkdir(parents=True, exist_ok=True)
            partial = self.directory / ".partial-best.safetensors"
            with _gone_on_failure(partial):
                _save_tensors(weights, partial)
                set_modes(partial)
                best_digest = digest(partial)
                os.replace(partial, best_weights(self.directory, step))
            self._remove_bests(step)
        return best_digest

    def load_best(self, model: DualHeadModel, position: Position) -> None:
        """Load the best weights into the model.

        Raises:
            CheckpointError: They are missing or damaged.
        """
        assert position.best_step is not None
        path = best_weights(self.directory, position.best_step)
        if not path.is_file() and (self.directory / "best.safetensors").is_file():  # of an earlier version
            path = self.directory / "best.safetensors"
        if position.best_digest is not None and path.is_file() and digest(path) != position.best_digest:
            raise CheckpointError(f"{path}: damaged (it differs from its digest); start the run again")
        _load_tensors(model, path)

    def restore(self, path: Path, state: TrainState) -> Position:
        """Restore a checkpoint: weights, optimizer, schedule, random state.

        Raises:
            CheckpointError: It has another config or other rows (the message names what differs), or is damaged.
        """
        try:
            position, identity = read_state(path)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; {_MEND}") from error
        if differing := list(identity_differences(identity, self.identity, "in the checkpoint")):
            raise CheckpointError(
                f"{path}: cannot resume, since these are not as they were: {'; '.join(differing)}; bring them back, or "
                "start over with `overwrite`"
            )
        rng = path / f"rng-{state.accelerator.process_index}.pt"
        try:
            optimizer = torch.load(path / "optimizer.pt", weights_only=True, map_location="cpu")
            _load_tensors(state.model, path / "model.safetensors")
            restore_optimizer(state, optimizer)
            restore_rng(torch.load(rng, weights_only=True, map_location="cpu"), state.accelerator.device)
        except CheckpointError:
            raise
        except Exception as error:  # torch has no base class for the errors it raises on a foreign file
            if is_out_of_memory(error):
                raise
            raise CheckpointError(f"{path}: damaged ({message_of(error)}); {_MEND}") from error
        return position

    def remove(self, accelerator: Accelerator) -> None:
        """Remove the checkpoints after training: the artifact replaces them."""
        if accelerator.is_main_process:
            remove_checkpoints(self.directory)
        accelerator.wait_for_everyone()

    def _remove_old(self, best_step: int | None) -> None:
        for path in whole_checkpoints(self.directory)[:-_KEEP]:
            shutil.rmtree(path)
        remove_partial(self.directory)
        self._remove_bests(best_step)

    def _remove_bests(self, best_step: int | None) -> None:
        """Remove best weights but for these, and those of checkpoints: a run that resumes there may not find better."""
        with suppress(CheckpointError):  # one that cannot be read may need any
            counted = {best_step_of(path) for path in whole_checkpoints(self.directory)}
            kept = {best_weights(self.directory, step) for step in {best_step, *counted} if step is not None}
            for path in {*self.directory.glob("best-*.safetensors")} - kept:
                path.unlink()


@contextmanager
def _gone_on_failure(partial: Path) -> Iterator[None]:
    """Remove what is half-written, however the write fails: it is useless, and would keep a full disk full."""
    try:
        yield
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):
            partial.unlink()
        raise


def _save_tensors(weights: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: tensor.cpu().contiguous() for name, tensor in weights.items()}, path)


def _save_objects(value: Mapping[str, object], path: Path) -> None:
    try:
        torch.save(value, path)
    except RuntimeError as error:  # how its zip writer reports a failed write
        if is_out_of_memory(error):
            raise
        raise OSError(errno.EIO, "the disk is full, or failing") from error


def _load_tensors(model: DualHeadModel, path: Path) -> None:
    own = model.trained_state()
    try:
        model.load_trained_state(
            {name: split_like(value, own.get(name, value)) for name, value in load_file(path).items()}
        )
    except (OSError, SafetensorError, ModelError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise CheckpointError(f"{path}: missing or damaged ({message_of(error)}); {_MEND}") from error
