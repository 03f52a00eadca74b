"""What an endpoint says instead of answering, and what that means."""

from __future__ import annotations

from typing import Any

import pytest

from dhrd.errors import TeacherError
from dhrd.rationales.teacher.failures import NoAnswer, RowRefused, failure_of, fault_in, read_fault
from dhrd.rationales.teacher.prompt import SENTINEL
from helpers.endpoint import completion

PLAIN = f"Because of x.\n{SENTINEL}\nrefund"


def test_t5_a_status_alone_is_one() -> None:
    fault = fault_in({"error": 402})
    assert fault is not None
    assert isinstance(failure_of(fault, host="h", model="m"), TeacherError)


@pytest.mark.parametrize(
    "finish", ["stop", "eos", "length", "tool_calls", "end_turn", "content_filter", None, ["stop"]]
)
def test_t5_any_other_end_is_no_error(finish: Any) -> None:
    assert fault_in(completion(PLAIN, finish=finish)) is None


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (429, "Your account balance is insufficient"),
        (429, "Insufficient balance, please recharge"),
        (429, "You have no credits left"),
        (403, "You have exceeded your monthly spending limit"),
    ],
)
def test_t7_no_money_in_more_words(status: int, said: str) -> None:
    found = failure_of(read_fault({"error": {"message": said}}, status), host="h", model="m")
    assert "the account's quota is used up" in str(found)


@pytest.mark.parametrize("field", [None, "", {}, {"code": 0, "message": ""}, []])
def test_t5_an_error_field_that_says_nothing_is_none(field: Any) -> None:
    assert fault_in({**completion(PLAIN), "error": field}) is None


@pytest.mark.parametrize(
    ("status", "error_body", "meaning"),
    [
        (400, {"error": {"code": "context_length_exceeded", "message": "x"}}, RowRefused),
        (403, {"error": {"message": "Your input was flagged by moderation"}}, RowRefused),
        (400, {"error": {"message": "The prompt was rejected by our moderator"}}, RowRefused),
        (500, {"error": {"code": "content_filter", "message": "x"}}, RowRefused),
        (500, {"error": {"message": "The safety system timed out"}}, NoAnswer),
        (503, {"error": {"message": "The model is under moderate load; please retry"}}, NoAnswer),
        (409, {"error": {"message": "The model is under moderate load; please retry"}}, NoAnswer),
        (400, [{"error": {"code": 400, "message": "x", "status": "INVALID_ARGUMENT"}}], RowRefused),
        (401, {"error": "x"}, TeacherError),
        (403, "x", TeacherError),
        (404, {"message": "x"}, TeacherError),
        (429, {"error": {"message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED"}}, NoAnswer),
        (408, {}, NoAnswer),
        (529, {"error": {"type": "overloaded_error"}}, NoAnswer),
    ],
)
def test_t6_what_a_status_means(status: int, error_body: Any, meaning: type[Exception]) -> None:
    assert isinstance(failure_of(read_fault(error_body, status), host="h", model="m"), meaning)
