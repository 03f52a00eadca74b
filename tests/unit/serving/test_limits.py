"""What a server takes on, and how it refuses."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from dhrd import ConfigError
from dhrd.serving.limits import Limits, Refusal


def test_the_limits_are_sane_by_default() -> None:
    limits = Limits()
    assert limits.max_rows * 512 <= limits.max_queue_tokens  # a full request of long rows has its place
    assert len(fields(limits)) == 7


@pytest.mark.parametrize(
    "wrong",
    [{"max_rows": 0}, {"max_bytes": -1}, {"max_explained_rows": -1}, {"deadline_s": 0}, {"deadline_s": float("nan")}],
)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Limits(**wrong)
    assert Limits(max_explained_rows=0).max_explained_rows == 0


def test_a_refusal_is_bounded_and_fit_for_a_terminal() -> None:
    refusal = Refusal(422, "invalid_row", "x" * 10_000 + "\x1b]0;title\x07")
    assert len(refusal.message) <= 300 and refusal.message.isprintable()
    assert str(refusal) == "invalid_row"  # what a log would get: no text of a row
