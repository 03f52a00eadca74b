"""Progress bars pass items through, and are silent where nobody watches."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest

from dhrd._progress import bar, in_words, track


def test_items_pass_through_in_order_and_nothing_is_drawn(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(track(range(5), "counting")) == [0, 1, 2, 3, 4]
    assert list(track((x for x in "abc"), "unknown length")) == ["a", "b", "c"]
    assert list(track([], "nothing")) == []
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_terminal_sees_the_description_and_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    assert sum(track(range(4), "tokenising")) == 6
    assert "tokenising" in terminal.getvalue()
    assert "4/4" in terminal.getvalue()


def test_items_are_taken_one_at_a_time() -> None:
    taken = []

    def source() -> Iterator[int]:
        for item in range(3):
            taken.append(item)
            yield item

    tracked = track(source(), "lazy")
    assert next(tracked) == 0
    assert taken == [0]


def test_an_error_inside_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        list(track((1 / item for item in (1, 0)), "dividing"))
    with bar() as progress:
        assert progress.disable


@pytest.mark.parametrize(("seconds", "words"), [(3.4, "3 s"), (90, "2 min"), (5399, "90 min"), (7200, "2.0 h")])
def test_seconds_for_people(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
