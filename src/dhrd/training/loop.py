"""The training loop: updates in the order of the plan, evaluations, checkpoints, the choice of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dhrd._progress import bar
from dhrd.config import TrainingSettings
from dhrd.data.records import Batch
from dhrd.model.memory import return_freed_memory
from dhrd.training.checkpoints import Checkpoints
from dhrd.training.position import Position, next_position
from dhrd.training.step import TrainState, train_step
from dhrd.training.trackers.tracker import Tracker

Metrics = Mapping[str, float]
EvaluateFn = Callable[[], Metrics]

_RETURN_MEMORY_EVERY = 20  # updates


class Updates(Protocol):
    """Where the micro-batches come from: `data.batches.PlannedUpdates`, or a DataLoader with one batch per update."""

    @property
    def updates_per_epoch(self) -> int:
        """Optimizer steps in one pass over the rows."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of each update of an epoch, from its `start`-th on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """The evaluations of a run, and how they choose the weights.

    Args:
        evaluate: Returns the current model's metrics; called at the end of each epoch or every `eval_steps`, and
            with `selection: best` after the last update.
        metric: Key of the metric that `selection: best` and `patience` use; None: nothing is chosen.
        higher_is_better: Whether larger values of `metric` are better.
    """

    evaluate: EvaluateFn
    metric: str | None = None
    higher_is_better: bool = True

    def improves(self, value: float, best: float | None) -> bool:
        """Whether a value beats the best so far."""
        return best is None or (value > best if self.higher_is_better else value < best)


def fit(
    state: TrainState,
    updates: Updates,
    *,
    monitor: Monitor | None = None,
    trackers: Sequence[Tracker] = (),
    checkpoints: Checkpoints | None = None,
    position: Position | None = None,
) -> Position:
    """Train to the end, or until patience runs out.

    Args:
        state: The model, its optimizer, and the settings that say when to evaluate and save.
        updates: The rows.
        monitor: Runs the evaluations; None: nothing is evaluated.
        trackers: Receive every logged number.
        checkpoints: Where to save; None: nothing is saved.
        position: Where to resume; None: at the beginning.

    Returns:
        The final position. With `selection: best` the model has its best weights.

    Raises:
        NonFiniteError: A loss or gradient is not finite.
        SaveError: A checkpoint could not be written.
    """
    settings, position = state.settings, position or Position()
    total = updates.updates_per_epoch * settings.num_epochs
    keeps_memory = state.accelerator.device.type == "cpu"  # see `make_train_state`
    with bar() as progress:
        task = progress.add_task("training", total=total, completed=position.step, note="")
        for batches in _remaining(updates, settings.num_epochs, position):
            log = train_step(state, batches, position.step + 1)
            position = next_position(position, updates.updates_per_epoch)
            log["epoch"] = position.epoch + position.update / updates.updates_per_epoch
            _log_to_all(trackers, log, position.step)
            if keeps_memory and position.step % _RETURN_MEMORY_EVERY == 0:
                return_freed_memory()
            progress.update(task, advance=1, note=f"loss {log['loss']:.3f}  {log['tokens_per_second']:.0f} tokens/s")
            if monitor is not None and _is_evaluated(settings, position, total):
                metrics = monitor.evaluate()
                _log_to_all(trackers, {f"eval_{name}": value for name, value in metrics.items()}, position.step)
                position = _choose(position, metrics, monitor, state, checkpoints)
            if checkpoints is not None and (_is_due(settings.save_steps, position) or position.stopped):
                states = {key: value for tracker in trackers for key, value in tracker.state().items()}
                position = replace(position, tracker=states)
                checkpoints.save(state, position)
            if position.stopped:
                break
    if keeps_memory:
        return_freed_memory()
    if settings.selection == "best" and checkpoints is not None and position.best_step is not None:
        checkpoints.load_best(state.model, position)
    return position


def _remaining(updates: Updates, num_epochs: int, position: Position) -> Iterable[list[Batch]]:
    if position.stopped:
        return
    for epoch in range(position.epoch, num_epochs):
        yield from updates.epoch(epoch, position.update if epoch == position.epoch else 0)


def _is_due(every: int | None, position: Position) -> bool:
    return position.update == 0 if every is None else position.step % every == 0


def _is_evaluated(settings: TrainingSettings, position: Position, total: int) -> bool:
    """Whether an evaluation is due; where the best weights are kept, the last ones are always among them."""
    return _is_due(settings.eval_steps, position) or (settings.selection == "best" and position.step == total)


def _choose(
    position: Position, metrics: Metrics, monitor: Monitor, state: TrainState, checkpoints: Checkpoints | None
) -> Position:
    """Note whether an evaluation is the best so far, and whether patience has run out."""
    if monitor.metric is None:
        return position
    value, settings = metrics[monitor.metric], state.settings
    position = replace(position, has_chosen=position.best_value is not None)
    if monitor.improves(value, position.best_value):
        kept = None
        if settings.selection == "best" and checkpoints is not None:
            kept = checkpoints.save_best(state, position.step)
        return replace(position, best_value=value, best_step=position.step, best_digest=kept, bad_evaluations=0)
    bad = position.bad_evaluations + 1
    stopped = settings.patience is not None and bad >= settings.patience
    return replace(position, bad_evaluations=bad, stopped=stopped)


def _log_to_all(trackers: Sequence[Tracker], values: Mapping[str, float], step: int) -> None:
    for tracker in trackers:
        tracker.log(values, step)
