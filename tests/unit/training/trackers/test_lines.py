"""A run told in lines."""

from __future__ import annotations

import logging

import pytest

from dhrd.training.trackers.lines import Lines


class Clock:
    """Seconds that pass as the test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def told(caplog: pytest.LogCaptureFixture, num_updates: int, seconds_an_update: float, *, first: int = 0) -> list[str]:
    """What is said over a run whose every update takes so long."""
    clock = Clock()
    lines = Lines(num_updates, first=first, clock=clock)
    caplog.clear()
    with caplog.at_level(logging.INFO, "dhrd"):
        for step in range(first + 1, num_updates + 1):
            clock.now += seconds_an_update
            lines.log({"loss": 1.0}, step)
    return [record.getMessage() for record in caplog.records]


def test_a_long_run_says_how_long_it_takes_and_then_each_tenth(caplog: pytest.LogCaptureFixture) -> None:
    said = told(caplog, 100, 6.0)
    assert said[0] == "about 10 min for the remaining 95 updates"
    assert said[1:] == [
        f"update {step} of 100: loss 1.000, about {left} left"
        for step, left in zip(
            range(10, 100, 10),
            ["9 min", "8 min", "7 min", "6 min", "5 min", "4 min", "3 min", "2 min", "60 s"],
            strict=True,
        )
    ]


def test_a_run_of_seconds_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, 50, 0.05) == []
    assert told(caplog, 3, 100.0) == []


def test_lines_of_a_quick_run_are_as_far_apart_as_one_can_read(caplog: pytest.LogCaptureFixture) -> None:
    said = told(caplog, 1000, 0.06)
    assert said[0].startswith("about 60 s for the remaining 995 updates")
    assert [line.split(":")[0] for line in said[1:]] == [f"update {step} of 1000" for step in (200, 400, 600, 800)]


def test_a_run_that_goes_on_measures_anew(caplog: pytest.LogCaptureFixture) -> None:
    said = told(caplog, 100, 6.0, first=80)
    assert said[0] == "about 2 min for the remaining 15 updates"
    assert said[1].startswith("update 90 of 100")


def test_on_a_terminal_the_bar_shows_how_far_it_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dhrd.training.trackers.lines.shows_bars", lambda: True)
    assert len(told(caplog, 100, 6.0)) == 1


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        ("log_loss", {"eval_accuracy": 0.5, "eval_log_loss": 0.25}, "log_loss 0.250"),
        (None, {"eval_accuracy": 0.5, "eval_macro_f1": 0.4, "eval_log_loss": 0.25}, "accuracy 0.500, macro_f1 0.400"),
        (None, {"eval_micro_f1": 0.5}, "micro_f1 0.500"),
    ],
)
def test_an_evaluation_is_told_by_what_chooses(
    caplog: pytest.LogCaptureFixture, metric: str | None, values: dict[str, float], expected: str
) -> None:
    with caplog.at_level(logging.INFO, "dhrd"):
        Lines(9, metric=metric).log(values, 3)
    assert caplog.messages == [f"update 3 of 9: {expected} on the held-out rows"]
