"""What a message may hold of the data that it speaks of."""

from __future__ import annotations

import pytest

from dhrd._text import LONGEST_LINE, LONGEST_VALUE, clipped, dhrd_command, escaped, message_of, shown
from dhrd.errors import DataError


@pytest.mark.parametrize("unsafe", ["\x1b]0;title\x07", "\x9b31m", "\r", "\u202e", "\u2028", "\ud83d", "\x7f"])
def test_control_characters_are_written_as_escapes(unsafe: str) -> None:
    text = escaped(f"a{unsafe}b")
    assert text.isprintable() and text.startswith("a\\") and text.endswith("b")
    assert str(DataError(f"a{unsafe}b")) == text


def test_newlines_tabs_and_letters_stay() -> None:
    assert escaped("é\tß\n😀") == "é\tß\n😀"


def test_the_middle_of_a_long_line_is_left_out() -> None:
    line = "data.jsonl:3: label: " + "x" * 10_000 + " is unknown; correct the row"
    found = clipped(line)
    assert len(found) <= LONGEST_LINE and found.startswith("data.jsonl:3: label: xx") and found.endswith("the row")
    assert clipped("short") == "short"


def test_values_are_shown_in_bounds() -> None:
    for value in ("x" * 10**6, ["y" * 10**6] * 10**6, {"a": [1] * 10**6}, list(range(10**6)), b"z" * 10**6, 10**3000):
        assert len(shown(value)) <= LONGEST_VALUE
    assert shown("a\x1bb") == "'a\\x1bb'" and shown(3) == "3" and shown(None) == "None"


def test_a_library_error_is_told_by_its_first_line() -> None:
    assert message_of(ValueError("\nfirst\nsecond")) == "first"
    assert message_of(ValueError()) == "ValueError"


def test_a_command_to_run_next() -> None:
    assert dhrd_command("train", checkpoint="out dir", max_steps=3, overwrite=True) == (
        "dhrd train --checkpoint out dir --max-steps 3 --overwrite"
    )
