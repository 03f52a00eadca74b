"""Lines, tables and logs in which text from data is only text. The letters name reported cases."""

from __future__ import annotations

import logging

import pytest

from dhrd._terminal import PlainFormatter, show_table

CAPTURE = pytest.CaptureFixture[str]


def test_a7_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    """A7: what is logged to the terminal."""
    record = logging.LogRecord("dhrd", logging.INFO, "", 0, "%s", ("\x1b[2J gone",), None)
    assert PlainFormatter("%(message)s").format(record) == r"\x1b[2J gone"


def test_f7_a_table_takes_no_markup(capsys: CAPTURE) -> None:
    """F7: headings, cells and titles of every table."""
    show_table(["[/a]", "[b]"], [["[/c]", "[bold]d"]], title="[/t]", left=("[/a]",))
    out = capsys.readouterr().out
    assert all(text in out for text in ("[/a]", "[b]", "[/c]", "[bold]d", "[/t]"))
