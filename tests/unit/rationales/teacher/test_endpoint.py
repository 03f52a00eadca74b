"""One endpoint: a question until it is answered or given up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from dhrd.errors import TeacherError
from dhrd.rationales.teacher.endpoint import _FIRST_WAIT_S, _retry_after
from helpers.endpoint import FAULTS, FaultyEndpoint, serving
from helpers.teacher import ask, write_cases

QUICK: dict[str, Any] = {"timeout_s": 2, "concurrency": 8}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_of_each_kind_is_mended(tmp_path: Path, fault: str) -> None:
    """Each ends as an answer at the next request, but for the refusal, which is an answer."""
    with serving(FaultyEndpoint(script=[fault])) as endpoint:
        found = ask(endpoint, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl", **QUICK)
    refused = fault == "refusal"
    assert (found.num_rationales, found.rejected.total()) == ((0, 1) if refused else (1, 0))
    assert endpoint.num_requests == found.tally.num_requests == (1 if refused else 2)
    assert found.tally.num_answers + found.tally.failures.total() == endpoint.num_requests


class Redirecting(FaultyEndpoint):
    """Sends each request on to another endpoint."""

    def __init__(self, other: str) -> None:
        super().__init__()
        self.other = other

    def _response(self, body: dict[str, Any], fault: str) -> Response:
        return Response(status_code=307, headers={"Location": f"{self.other}/chat/completions"})


def test_rows_and_keys_are_not_sent_where_an_endpoint_redirects(tmp_path: Path) -> None:
    with (
        serving(FaultyEndpoint()) as other,
        serving(Redirecting(other.url)) as endpoint,
        pytest.raises(TeacherError, match=r"redirects to http://[^ ]+/chat/completions, where rows and keys are not"),
    ):
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl", extra_headers={"api-key": "x"})
    assert (endpoint.num_requests, other.num_requests) == (1, 0)


def test_retry_after_is_honoured(tmp_path: Path) -> None:
    with serving(FaultyEndpoint(script=["429 with Retry-After"])) as endpoint:
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl")
    first, second = endpoint.times
    assert second - first >= 1


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        ("-1", 0, 0),
        ("soon", 0, 0),
        ("", 0, 0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 1e9, 1e10),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, least: float, most: float) -> None:
    assert least <= _retry_after({"retry-after": header} if header else {}) <= most


def test_pauses_grow(tmp_path: Path) -> None:
    assert _FIRST_WAIT_S == 0.5
    with serving(FaultyEndpoint(script=["500", "500", "500"]), first_wait_s=0.1) as endpoint:
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl")
    gaps = [after - before for before, after in zip(endpoint.times, endpoint.times[1:], strict=False)]
    assert len(gaps) == 3
    assert all(gap >= 0.05 * 2**retry for retry, gap in enumerate(gaps))
