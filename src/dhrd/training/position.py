"""Where a run stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a run stands: everything except tensors that decides what comes next.

    Args:
        step: Updates done.
        epoch: The epoch that the next update belongs to.
        update: The next update's number within it.
        best_value: The watched metric's best value so far.
        best_step: The update after which that value was reached.
        best_digest: Digest of the file with the weights at `best_step`.
        bad_evaluations: Evaluations since `best_step`.
        has_chosen: Whether an evaluation was compared with an earlier one: with a single one nothing is chosen.
        stopped: Whether `patience` ran out.
        tracker: What trackers need to resume the same run.
    """

    step: Count = 0
    epoch: Count = 0
    update: Count = 0
    best_value: float | None = None
    best_step: Count | None = None
    best_digest: str | None = None
    bad_evaluations: Count = 0
    has_chosen: bool = False
    stopped: bool = False
    tracker: dict[str, str] | None = None


def next_position(position: Position, updates_per_epoch: int) -> Position:
    """The position after one more update."""
    update = position.update + 1
    epoch, update = (position.epoch + 1, 0) if update == updates_per_epoch else (position.epoch, update)
    return replace(position, step=position.step + 1, epoch=epoch, update=update)


def is_possible(position: Position, updates_per_epoch: int, num_updates: int) -> bool:
    """Whether a run of so many updates can stand there."""
    return (
        position.step == position.epoch * updates_per_epoch + position.update
        and position.update < updates_per_epoch
        and position.step <= num_updates
        and (position.best_step or 0) <= position.step
    )
