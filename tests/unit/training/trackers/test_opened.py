"""The trackers of a run are told how it ended, whatever one of them does."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate import Accelerator

from dhrd.config import RunConfig
from dhrd.training.position import Position
from dhrd.training.trackers.opened import open_trackers
from helpers.runs import Recorder, read_jsonl


class FailsAtTheEnd(Recorder):
    def finish(self, artifact: Path | None) -> None:
        raise ConnectionError("gone")


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=True, mixed_precision="no")


def test_callbacks_come_before_metrics_jsonl(tmp_path: Path, accelerator: Accelerator) -> None:
    recorder = Recorder()
    with open_trackers(RunConfig(), accelerator, tmp_path, Position(), [recorder]) as trackers:
        assert trackers[0] is recorder and len(trackers) == 2
        for tracker in trackers:
            tracker.log({"loss": 0.5}, 1)
    assert recorder.ended == [tmp_path]
    assert read_jsonl(tmp_path / "metrics.jsonl") == recorder.rows == [{"step": 1, "loss": 0.5}]


@pytest.mark.parametrize(("error", "status"), [(ZeroDivisionError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_breaks_off_says_how(
    tmp_path: Path, accelerator: Accelerator, error: type[BaseException], status: str
) -> None:
    recorder = Recorder()
    with pytest.raises(error), open_trackers(RunConfig(), accelerator, tmp_path, Position(), [recorder]):
        raise error
    assert recorder.ended == [status]


def test_one_that_fails_at_the_end_keeps_the_others_from_nothing(tmp_path: Path, accelerator: Accelerator) -> None:
    recorder = Recorder()
    callbacks = [FailsAtTheEnd(), recorder]
    with (
        pytest.raises(ConnectionError, match=r"^gone$"),
        open_trackers(RunConfig(), accelerator, tmp_path, Position(), callbacks),
    ):
        pass
    assert recorder.ended == [tmp_path]


def test_a_run_that_goes_on_keeps_its_lines(tmp_path: Path, accelerator: Accelerator) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n', encoding="utf-8")
    with open_trackers(RunConfig(), accelerator, tmp_path, Position(step=1), []) as (jsonl,):
        jsonl.log({"loss": 1.0}, 2)
    assert read_jsonl(tmp_path / "metrics.jsonl") == [{"step": 1}, {"step": 2, "loss": 1.0}]
