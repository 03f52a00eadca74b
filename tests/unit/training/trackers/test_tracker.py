"""A tracker that may fail, and what a callback must have."""

from __future__ import annotations

import logging

import pytest

from dhrd.errors import ConfigError, DataError
from dhrd.training.trackers.tracker import Lasting, Tracker, check_callbacks, usable
from helpers.runs import Recorder


class Broken(Recorder):
    """Fails at a step, with a secret in what it says."""

    def log(self, values: object, step: int) -> None:
        super().log(values, step)  # type: ignore[arg-type]
        if step == 2:
            raise ConnectionError("https://ann:hush@host is gone\nsecond line")


def test_a_failure_is_said_once_and_the_tracker_told_no_more(caplog: pytest.LogCaptureFixture) -> None:
    broken = Broken()
    lasting = Lasting("board", broken)
    with caplog.at_level(logging.WARNING, "dhrd"):
        for step in (1, 2, 3):
            lasting.log({"loss": 1.0}, step)
        lasting.finish(None)
    assert broken.steps("loss") == [1, 2]
    assert broken.ended == ["FAILED"]  # closed, so that the next run does not log to it
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("board failed at step 2 (https://***@host is gone)")


def test_one_that_works_is_passed_everything() -> None:
    recorder = Recorder()
    lasting = Lasting("board", recorder)
    lasting.log({"loss": 1.0}, 1)
    lasting.finish(None)
    lasting.abort("KILLED")
    assert (recorder.steps("loss"), recorder.ended) == ([1], [None, "KILLED"])


def test_a_tracker_of_ones_own_needs_only_log() -> None:
    class Mine(Tracker):
        def log(self, values: object, step: int) -> None:
            raise AssertionError

    mine = Mine()
    assert mine.state() == {} and mine.finish(None) is None and mine.abort("FAILED") is None
    check_callbacks([mine])


@pytest.mark.parametrize(
    ("callbacks", "part"), [("abc", "is not a list"), ([Recorder], "is a class"), ([1], "has no log")]
)
def test_other_callbacks_are_refused(callbacks: object, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        check_callbacks(callbacks)


def test_what_a_library_raises_is_one_line_and_ours_stays_as_it_is() -> None:
    with pytest.raises(ConfigError, match=r"^the board cannot be used \(no server\)$"), usable("the board"):
        raise OSError("no server\nat all")
    with pytest.raises(DataError, match=r"^mine$"), usable("the board"):
        raise DataError("mine")
