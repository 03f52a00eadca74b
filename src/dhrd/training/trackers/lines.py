"""The log lines of a run: its estimated duration, each tenth of its progress, and its evaluations."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from dhrd._progress import in_words, shows_bars
from dhrd.training.trackers.tracker import Tracker

logger = logging.getLogger("dhrd")

_NUM_WARMING = 2  # updates that take longer than the others: kernels are chosen, memory is allocated
_NUM_MEASURED = 3  # updates that the first estimate is based on
_PARTS = 10  # lines of a whole run
_LEAST_S = 10.0  # between two of them: a run of seconds needs none
_EVALUATION = "eval_"


class Lines(Tracker):
    """The log lines of a run's updates.

    On a terminal the bar shows the progress, and only the estimate and one line per evaluation are logged.

    Args:
        num_updates: Number of updates in the whole run.
        metric: The metric shown for each evaluation; None: accuracy and macro F1.
        first: The update after which the run resumes.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        num_updates: int,
        *,
        metric: str | None = None,
        first: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._num_updates, self._metric, self._first, self._clock = num_updates, metric, first, clock
        self._has_bar = shows_bars()
        self._began: tuple[float, int] | None = None
        self._last = clock()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log what is due after an update or an evaluation."""
        if any(name.startswith(_EVALUATION) for name in values):
            self._log_line(
                "update %d of %d: %s on the held-out rows", step, self._num_updates, self._metrics_text(values)
            )
            return
        done = step - self._first
        if done == _NUM_WARMING:
            self._began = self._clock(), step
        if self._began is None or step in (self._began[1], self._num_updates):
            return
        left_s = self._left_s(step, *self._began)
        if done == _NUM_WARMING + _NUM_MEASURED and left_s >= _LEAST_S:
            self._log_line("about %s for the remaining %d updates", in_words(left_s), self._num_updates - step)
        elif not self._has_bar and self._is_tenth(step) and self._clock() - self._last >= _LEAST_S:
            left = in_words(left_s)
            self._log_line("update %d of %d: loss %.3f, about %s left", step, self._num_updates, values["loss"], left)

    def _is_tenth(self, step: int) -> bool:
        return step * _PARTS // self._num_updates > (step - 1) * _PARTS // self._num_updates

    def _left_s(self, step: int, moment: float, first: int) -> float:
        """Estimated seconds left, from the pace since that moment, including evaluations and checkpoints."""
        return (self._clock() - moment) / (step - first) * (self._num_updates - step)

    def _log_line(self, message: str, *values: object) -> None:
        logger.info(message, *values)
        self._last = self._clock()

    def _metrics_text(self, values: Mapping[str, float]) -> str:
        names = (
            [f"{_EVALUATION}{self._metric}"] if self._metric else [f"{_EVALUATION}accuracy", f"{_EVALUATION}macro_f1"]
        )
        known = [name for name in names if name in values] or list(values)[:1]
        return ", ".join(f"{name.removeprefix(_EVALUATION)} {values[name]:.3f}" for name in known)
