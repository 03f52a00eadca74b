"""A row that an endpoint refuses is told from an endpoint that is at fault."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dhrd.errors import TeacherError
from helpers.endpoint import error
from helpers.teacher import ask, saying, write_cases


@pytest.mark.parametrize(
    ("status", "parts"),
    [
        (400, {"code": "content_filter"}),
        (400, {"message": "maximum context length is 100 tokens, yours has 900"}),
        (413, {}),
        (422, {"message": "not this one"}),
        (400, {"message": "cannot do it"}),
    ],
)
def test_t6_rows_that_are_refused_in_a_row_settle(tmp_path: Path, status: int, parts: dict[str, Any]) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 60), tmp_path / "o.jsonl"
    refuse = lambda _, prompt: error(status, **parts) if _case(prompt) < 30 else None  # noqa: E731
    with saying(refuse) as endpoint:
        found = ask(endpoint, data, output)
        assert (found.num_rationales, dict(found.rejected), found.num_open) == (30, {"failed": 30}, 0)
        assert ask(endpoint, data, output).num_rationales == 30
    assert endpoint.num_requests == 60


def _case(prompt: str) -> int:
    return int(re.search(r"case number (\d+)", prompt)[1])  # type: ignore[index]


def test_t6_a_filter_inside_a_200_settles_its_row_too(tmp_path: Path) -> None:
    body = {"error": {"code": "content_filter", "message": "no"}}
    with saying(lambda _, prompt: body if _case(prompt) == 0 else None) as endpoint:
        found = ask(endpoint, write_cases(tmp_path / "d.jsonl", 3), tmp_path / "o.jsonl")
    assert (dict(found.rejected), endpoint.num_requests) == ({"failed": 1}, 3)


def test_t6_only_the_same_refusal_of_every_row_stops_a_run(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 40), tmp_path / "o.jsonl"
    with saying(lambda number, _: error(400, f"cannot do it, request {number}")) as endpoint:
        with pytest.raises(TeacherError, match=r"answered none of the last 40 questions .* refuses all alike"):
            ask(endpoint, data, output)
        assert not output.exists()
        endpoint.respond = lambda *_: None
        assert ask(endpoint, data, output).num_rationales == 40


def test_t6_one_new_row_that_is_refused_settles_where_others_were_answered(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 3), tmp_path / "o.jsonl"
    with saying(lambda _, prompt: error(400, "cannot do it") if _case(prompt) == 3 else None) as endpoint:
        ask(endpoint, data, output)
        assert dict(ask(endpoint, write_cases(data, 4), output).rejected) == {"failed": 1}
