"""What can be wrong with one rationale."""

from __future__ import annotations

import pytest

from dhrd.rationales.audit.fix import _NOT_A_ROW, _OF_THE_FILE
from dhrd.rationales.audit.flags import KINDS, Flag


def test_a_flag_is_of_a_known_kind() -> None:
    assert Flag("length", "1 word").spans == ()
    with pytest.raises(AssertionError, match="long"):
        Flag("long", "1 word")


def test_kinds_that_mending_tells_apart_are_known() -> None:
    assert set(KINDS) >= _NOT_A_ROW | _OF_THE_FILE
    assert list(KINDS)[:2] == ["malformed", "duplicate_id"]  # the order in which they are shown
