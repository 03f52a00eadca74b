"""What takes every logged number of a run, and what keeps one that may fail from ending it."""

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
    """Takes every logged number of a run. Where one is derived from this class, only `log` must be written."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of one update or evaluation."""

    def state(self) -> dict[str, str]:
        """What is needed to go on with the same run after a restart."""
        return {}

    def finish(self, artifact: Path | None) -> None:
        """The run ended well, with this artifact."""
        return None

    def abort(self, status: str) -> None:
        """The run ended otherwise: "FAILED" or "KILLED"."""
        return None


class Lasting(Tracker):
    """A tracker that may fail: it is told no more then, and the run goes on with metrics.jsonl.

    Args:
        name: Of the tracker, for the one warning.
        tracker: The tracker.
    """

    def __init__(self, name: str, tracker: Tracker) -> None:
        self._name, self._tracker, self._failed = name, tracker, False

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Pass the numbers on, unless the tracker failed before."""
        if not self._failed:
            self._attempt(lambda: self._tracker.log(values, step), f"at step {step}")

    def state(self) -> dict[str, str]:
        """The tracker's own."""
        return self._tracker.state()

    def finish(self, artifact: Path | None) -> None:
        """Pass the end on; what is open in this process is closed, or the next run would log to it."""
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
    """Turn what a tracker raises before training into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # no driver for the database, no server, no such run: each library has errors of its own
        raise ConfigError(f"{what} cannot be used ({masked(message_of(error))})") from error


def check_callbacks(callbacks: object) -> None:
    """Before training: can each of them be told what a run logs, and how it ended?

    Raises:
        ConfigError: Naming what one lacks.
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
