"""Trackers, which receive every logged number of a run, and a wrapper for those that may fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from dhrd._text import message_of, shown
from dhrd.config.published import masked
from dhrd.errors import ConfigError, UserError

logger = logging.getLogger("dhrd")


class Tracker(Protocol):
    """Receives every logged number of a run. A subclass need only implement `log`."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of one update or evaluation."""

    def state(self) -> dict[str, str]:
        """What is needed to resume the same run after a restart."""
        return {}

    def finish(self, artifact: Path | None) -> None:
        """The run ended well, with this artifact."""
        return None

    def abort(self, status: str) -> None:
        """The run ended otherwise: "FAILED" or "KILLED"."""
        return None


class Lasting(Tracker):
    """A tracker that may fail: it is then no longer called, and the run continues with metrics.jsonl.

    Args:
        name: The tracker's name, for the single warning.
        tracker: The tracker.
    """

    def __init__(self, name: str, tracker: Tracker) -> None:
        self._name, self._tracker, self._failed = name, tracker, False

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Pass the numbers on, unless the tracker failed before."""
        if not self._failed:
            self._attempt(lambda: self._tracker.log(values, step), f"at step {step}")

    def state(self) -> dict[str, str]:
        """The tracker's own state."""
        return self._tracker.state()

    def finish(self, artifact: Path | None) -> None:
        """Pass the end on; whatever is open in this process is closed, or the next run would log to it."""
        if not self._failed:
            self._attempt(lambda: self._tracker.finish(artifact), "at the end")
        if self._failed:
            self._attempt(lambda: self._tracker.abort("FAILED"), "at the end")

    def abort(self, status: str) -> None:
        """Pass the end on."""
        self._attempt(lambda: self._tracker.abort(status), "at the end")

    def _attempt(self, act: Callable[[], None], when: str) -> None:
        try:
            act()
        except Exception as error:  # whatever a tracker raises: servers, disks, quotas
            if not self._failed:
                logger.warning(
                    "%s failed %s (%s); it is no longer used, but metrics.jsonl has every number",
                    self._name, when, masked(message_of(error)),
                )  # fmt: skip
            self._failed = True


@contextmanager
def usable(what: str) -> Iterator[None]:
    """Turn whatever a tracker raises before training into a one-line error."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # no driver for the database, no server, no such run: each library has errors of its own
        raise ConfigError(f"{what} cannot be used ({masked(message_of(error))})") from error


def check_callbacks(callbacks: object) -> None:
    """Check before training that each callback can receive a run's numbers and its end.

    Raises:
        ConfigError: One lacks a method; the message names it.
    """
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise ConfigError(f"callbacks: {shown(callbacks)} is not a list; give a list of trackers")
    needed = ("log", "state", "finish", "abort")
    for number, callback in enumerate(callbacks):
        if isinstance(callback, type):
            raise ConfigError(f"callbacks[{number}]: {shown(callback)} is a class; give an instance of it")
        if lacking := [name for name in needed if not callable(getattr(callback, name, None))]:
            raise ConfigError(
                f"callbacks[{number}]: {shown(callback)} has no {', '.join(lacking)}; a tracker has {', '.join(needed)}"
            )
